"""No secret comes out: canaries are planted in every encrypted field and wherever a secret can come in, everything that
can go wrong does, and then all that Nexus has said and kept is looked through, place by place."""

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import pytest

from bench.standin import Standin, serve_in_thread
from tests import rawhttp
from tests.e2e import canaries
from tests.e2e.canaries import Canaries, HeardRedis, heard_redis
from tests.oauthserver import ACCESS, CLIENT_ID, OAuthServer, Token, Trouble, oauth_server
from tests.rawhttp import Answer
from tests.served import Served, eventually, new_database, running, serve
from tests.telemetry.notices.slackserver import SlackServer, serve_slack, status

pytestmark = [pytest.mark.e2e, pytest.mark.once_in_cluster]

Pairs = list[tuple[str, str]]
HOSTS = ("localhost", "bearer.example.com", "oauth.example.com", "own.example.com")
CSRF = "c" * 32
PAGES_MAX = 400
TOLD = {"/services/T0/B0/", "/heard/", "/api/chat.postMessage"}
TRACES_PATH = "/v1/traces"
FORM = "application/x-www-form-urlencoded"
SYSTEM = [{"type": "text", "text": "You are a test."}, {"type": "text", "text": "Be brief."}]
"""Two texts: a request that Slack is told of."""
TASKS = ("note_last_use", "watch", "recheck_credentials", "refresh_tokens", "clean_record", "tell_on_time", "roll_up")
SEED = """
import json
from datetime import timedelta
from django.utils import timezone
from telemetry.models import SlackSettings, Webhook
planted = json.loads({planted!r})
def domain(host, **values):
    found = Domain.objects.get_or_create(host=host)[0]
    Domain.objects.filter(pk=found.pk).update(**values)
    key = ClientKey(domain=found, name="program")
    key.take_secret(planted["key of " + host])
    key.save()
    return found
def credential(domain, kind, **values):
    return Credential.objects.create(domain=domain, name=kind, owner="Grace", kind=kind, **values)
local, bearer, oauth, own = map(domain, {hosts!r})
Domain.objects.filter(pk=own.pk).update(allow_passthrough=True)
credential(local, "api_key", secret=planted["api key"])
credential(bearer, "bearer", secret=planted["bearer token"])
ended = dict(expires_at=timezone.now() - timedelta(minutes=1), version=1)
row = credential(oauth, "oauth")
OAuthToken.objects.create(credential=row, access_token=planted["access token"],
                          refresh_token=planted["refresh token"], **ended)
refused = Domain.objects.create(host="refused.example.com")
row = credential(refused, "oauth")
OAuthToken.objects.create(credential=row, access_token=planted["refused access token"],
                          refresh_token=planted["refused refresh token"], **ended)
key = ClientKey(domain=local, name="rotated")
key.take_secret(planted["previous secret"])
key.save()
new = key.rotate(timedelta(days=1))
key = ClientKey(domain=refused, name="of the original")
key.take_secret(planted["key of the original"])
key.save()
SlackSettings.objects.create(domain=local, is_on=True, webhook_url=planted["Slack webhook"])
kinds = ["conversation", "error", "incident", "digest"]
for name in ("webhook", "angry webhook"):
    Webhook.objects.create(name=name, url=planted[name], secret=planted["secret of " + name], kinds=kinds)
print(new)
"""
SESSIONS = """
from importlib import import_module
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.test import RequestFactory
from django.contrib.auth import login
looker = User.objects.create_user("looker", is_staff=True)
looker.user_permissions.set(Permission.objects.filter(codename__regex="^(view_|all_domains)"))
for user in (User.objects.get(username="admin"), looker):
    request = RequestFactory().get("/")
    request.session = import_module(settings.SESSION_ENGINE).SessionStore()
    login(request, user)
    request.session.save()
    print(request.session.session_key)
"""
REGISTRY = """
from django.contrib import admin
for model in admin.site._registry:
    base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    print(base)
    print(base + "add/")
    for pk in model.objects.values_list("pk", flat=True)[:2]:
        for page in ("change", "history", "delete"):
            print(f"{base}{pk}/{page}/")
"""
FILLED = """
from accounts.rotation import fields
for model, name in fields():
    print(model.__name__, name, model.objects.filter(**{name + "__isnull": False}).exists())
"""
DECODED_SESSIONS = """
from django.contrib.sessions.models import Session
print([each.get_decoded() for each in Session.objects.all()])
"""


@dataclass
class Stage:
    served: Served
    standin: Standin
    oauth: OAuthServer
    slack: SlackServer
    angry: SlackServer
    canaries: Canaries
    redis: HeardRedis | None
    planted: dict[str, str] = field(default_factory=dict)
    said: dict[str, bytearray] = field(default_factory=dict)
    """What came out, by the place where it did."""
    sessions: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    """Pages of the admin."""
    renewed: list[str] = field(default_factory=list)
    """Access tokens from the OAuth server that were used."""

    def say(self, place: str, *contents: bytes) -> None:
        self.said.setdefault(place, bytearray()).extend(b"\n".join((*contents, b"\n")))

    def plant(self, name: str, start: str = "", end: str = "0000") -> str:
        self.planted[name] = self.canaries.plant(name, start, end)
        return self.planted[name]

    def send(
        self, method: str, target: str, headers: Pairs, body: bytes = b"", *, place: str = "answers to clients"
    ) -> Answer:
        answer = rawhttp.request(self.served.port, method, target, headers, body)
        self.say(place, repr(answer.headers).encode(), answer.body)
        return answer

    def ask(self, text: str, host: str = "localhost", *more: tuple[str, str], key: str = "", **fields: Any) -> Answer:
        headers = [
            *([] if any(name == "x-nexus-key" for name, _ in more) else [("x-nexus-key", key)]),
            ("host", host),
            ("anthropic-version", "2023-06-01"),
            ("x-claude-code-session-id", "0b5c0b3a-0000-4000-8000-000000000000"),
            *more,
        ]
        message = {"role": "user", "content": text}
        body = {"model": "claude-haiku-4-5", "max_tokens": 64, "system": SYSTEM, "messages": [message], **fields}
        return self.send("POST", "/v1/messages", headers, json.dumps(body).encode())

    def good(self, text: str, host: str = "localhost", *more: tuple[str, str], **fields: Any) -> Answer:
        """With the key of that host."""
        return self.ask(text, host, *more, key=self.planted[f"key of {host}"], **fields)

    def console(
        self,
        target: str,
        method: str = "GET",
        *more: tuple[str, str],
        who: int = 0,
        place: str = "pages",
        form: Sequence[tuple[str, str]] = (),
    ) -> Answer:
        """As the administrator, or as somebody who may only look."""
        cookie = f"sessionid={self.sessions[who]}; csrftoken={CSRF}"
        headers = [("host", "127.0.0.1"), ("cookie", cookie), ("content-type", FORM), *more]
        content = urlencode([("csrfmiddlewaretoken", CSRF), *form]).encode() if method == "POST" else b""
        return self.send(method, target, headers, content, place=place)


@pytest.fixture(scope="module", params=[False, True], ids=["production", "debug"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The whole play; what is looked at is looked at afterwards."""
    is_debug: bool = request.param
    folder, planted = tmp_path_factory.mktemp("canaries"), Canaries()
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        standin, oauth, slack, angry = enter(serve_in_thread()), enter(oauth_server()), *_slacks(stack)
        heard = enter(heard_redis(folder, planted.plant("Redis password"))) if os.environ.get("REDIS_URL") else None
        variables = _variables(planted, oauth, slack, heard, folder, is_debug=is_debug)
        served = enter(serve(folder, standin.url, database_url=_database_url(planted), **variables))
        if heard is not None:
            enter(running(served, "worker"))
            enter(running(served, "beat"))
        stage = Stage(served, standin, oauth, slack, angry, planted, heard)
        stage.planted |= {name: variables[name] for name in ("METRICS_TOKEN", "DASHBOARD_API_KEY")}
        _play(stage)
        served.stop()
        _gather(stage)
        yield stage


def _slacks(stack: contextlib.ExitStack) -> tuple[SlackServer, SlackServer]:
    return stack.enter_context(serve_slack()), stack.enter_context(serve_slack())


def _database_url(planted: Canaries) -> str:
    if not os.environ.get("DATABASE_URL"):
        return ""
    parts = urlsplit(new_database())
    user = parts.username or "postgres"
    password = planted.plant("database password")
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}"))


def _variables(
    planted: Canaries, oauth: OAuthServer, slack: SlackServer, heard: HeardRedis | None, folder: Path, *, is_debug: bool
) -> dict[str, Any]:
    originals = folder / "originals"
    originals.mkdir()
    _write_originals(originals, planted)
    return {
        "DEBUG": str(is_debug).lower(),
        "LOG_JSON": str(not is_debug).lower(),
        "LOG_LEVEL": "debug",
        "DJANGO_SETTINGS_MODULE": "tests.e2e.planted_settings",
        "PLANTED": "no secret",
        "CLAUDE_API_KEY": planted.plant("CLAUDE_API_KEY", "sk-ant-api03-"),
        "CLAUDE_OAUTH_TOKEN_URL": f"{oauth.url}/token",
        "CLAUDE_OAUTH_CLIENT_ID": CLIENT_ID,
        "CLAUDE_OAUTH_CLIENT_SECRET": planted.plant("CLAUDE_OAUTH_CLIENT_SECRET", "a-fake-client-secret-"),
        "METRICS_TOKEN": planted.plant("METRICS_TOKEN"),
        "DASHBOARD_API_KEY": planted.plant("DASHBOARD_API_KEY"),
        "SLACK_BOT_TOKEN": planted.plant("SLACK_BOT_TOKEN", "xoxb-1-"),
        "SLACK_API_URL": slack.api_url,
        "SLACK_CHANNEL": "#claude",
        "SLACK_WEBHOOK_URL": f"http://127.0.0.1:{slack.port}/services/{planted.plant('SLACK_WEBHOOK_URL')}",
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Basic {planted.plant('OTEL_EXPORTER_OTLP_HEADERS')}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{slack.port}",
        "CREDENTIALS_DIR": str(originals),
        **({"REDIS_URL": heard.url} if heard else {}),
    }


def _write_originals(folder: Path, planted: Canaries) -> None:
    """Good and broken ones; what is wrong with them is said without what is in them."""
    client_key, hook = planted.plant("client key in a file", "cnp_live_"), planted.plant("Slack webhook in a file")
    wrong: dict[str, Any] = {
        "good": {
            "type": "api_key",
            "api_key": planted.plant("api key in a file", "sk-ant-api03-"),
            "client_api_key": client_key,
            "slack": {"webhook_url": f"https://hooks.slack.com/services/{hook}", "enabled": False},
        },
        "spaced": {"type": "api_key", "api_key": planted.plant("api key with a space", "sk-ant-api03- ")},
        "typed": {"type": "api_key", "api_key": [planted.plant("api key in a list", "sk-ant-api03-")]},
        "kindless": {"type": planted.plant("kind in a file", "sk-ant-api03-")},
        "hooked": {
            "type": "api_key",
            "api_key": planted.plant("api key beside a bad webhook", "sk-ant-api03-"),
            "slack": {"webhook_url": f"ftp://{planted.plant('bad webhook in a file')}"},
        },
    }
    for name, content in wrong.items():
        (folder / f"{name}.example.com.credentials.json").write_text(json.dumps(content))
    (folder / "torn.example.com.credentials.json").write_text(
        '{"type": "api_key", "api_key": "' + planted.plant("api key in torn JSON", "sk-ant-api03-")
    )


# --- The play ---------------------------------------------------------------------------------------------------------


def _play(stage: Stage) -> None:
    _seed(stage)
    _succeed(stage)
    _fail_upstream(stage)
    _come_in_everywhere(stage)
    _come_malformed(stage)
    _fetch_tokens(stage)
    stage.say("spool", canaries.files(stage.served.data / "spool"))
    _run_tasks(stage)
    _type_into_forms(stage)
    _read_the_console(stage)
    _use_commands(stage)
    _wait_for_notices(stage)


def _seed(stage: Stage) -> None:
    for host in HOSTS:
        stage.plant(f"key of {host}", "nxs_live_")
    stage.plant("key of the original", "cnp_live_")
    stage.plant("previous secret", "nxs_live_")
    stage.plant("api key", "sk-ant-api03-")
    for name in ("bearer token", "access token", "refused access token"):
        stage.plant(name, "sk-ant-oat01-")
    for name in ("refresh token", "refused refresh token"):
        secret = stage.plant(name, "sk-ant-ort01-")
        stage.oauth.tokens[secret] = Token(secret, "")
    stage.plant("Slack webhook", f"http://127.0.0.1:{stage.slack.port}/services/T0/B0/")
    stage.plant("webhook", f"http://127.0.0.1:{stage.slack.port}/heard/")
    stage.plant("angry webhook", f"http://127.0.0.1:{stage.angry.port}/angry/")
    for name in ("webhook", "angry webhook"):
        stage.plant(f"secret of {name}")
    stage.angry.always = status(403, f"no {stage.planted['angry webhook']} {stage.planted['secret of angry webhook']}")
    code = SEED.format(planted=json.dumps(stage.planted), hosts=HOSTS)
    stage.planted["new secret"] = stage.canaries.note("new secret", stage.served.run(code))
    stage.sessions = stage.served.run(SESSIONS).split()


def _succeed(stage: Stage) -> None:
    own = stage.plant("caller's own token", "sk-ant-oat01-")
    more = [("authorization", f"Bearer {own}"), ("anthropic-beta", "oauth-2025-04-20")]
    for host in HOSTS:
        headers = more if host.startswith("own") else []
        _until_known(stage, host, headers)
        assert stage.good(f"Again {host}", host, *headers, stream=True).status == 200
    for name in ("previous secret", "new secret"):
        assert stage.ask(f"Hello {name}", key=stage.planted[name]).status == 200
    as_api_key = ("x-api-key", stage.planted["key of localhost"])
    assert stage.send("GET", "/v1/models", [as_api_key, ("anthropic-version", "2023-06-01")]).status == 200


def _until_known(stage: Stage, host: str, headers: Pairs) -> None:
    """A new key is known within two seconds."""
    answer = eventually(lambda: said if (said := stage.good(f"Hello {host}", host, *headers)).status != 401 else None)
    assert answer is not None
    assert answer.status == 200, answer.body


def _fail_upstream(stage: Stage) -> None:
    for host in HOSTS[:3]:
        for code in (400, 403, 429, 500, 529):
            _until(stage, code, f"[[standin status={code}]] {host}", host)
        _until(stage, 502, f"[[standin die_at=-1]] {host}", host)
        for trouble in ("die_at=3", "error_at=2"):
            stage.good(f"[[standin {trouble}]] {host}", host, stream=True)
    refused = stage.planted["refused refresh token"]
    echo = json.dumps({"error": refused, "error_description": f"{refused} is not known"}).encode()
    stage.oauth.troubles.append(Trouble(400, echo, {"retry-after": refused}))
    original = stage.planted["key of the original"]
    assert stage.ask("Hello", "refused.example.com", ("x-nexus-key", original)).status == 503
    revoked = ("x-api-key", stage.plant("caller's revoked key", "sk-ant-api03-revoked-"))
    assert stage.good("Hello", "own.example.com", revoked).status == 401
    faulty = ("x-api-key", stage.plant("key of a fault within", "sk-ant-api03-", "-faulty"))
    assert stage.good("Hello", "localhost", faulty).status == 500


def _until(stage: Stage, code: int, text: str, host: str) -> None:
    """After a 429 a credential rests for a moment."""
    eventually(lambda: stage.good(text, host).status == code)


def _come_in_everywhere(stage: Stage) -> None:
    """Wrong ones, and right ones with others beside them."""
    good = ("x-nexus-key", stage.planted["key of localhost"])
    for name in ("x-nexus-key", "x-api-key", "authorization"):
        for start in ("nxs_live_", "cnp_live_", "sk-ant-api03-", ""):
            secret = stage.plant(f"wrong {start} in {name}", start)
            value = f"Bearer {secret}" if name == "authorization" else secret
            headers = [(name, value), ("anthropic-version", "2023-06-01")]
            assert stage.send("POST", "/v1/messages", headers, b"{}").status == 401
    basic = base64.b64encode(f"ada:{stage.plant('basic')}".encode()).decode()
    beside = [
        ("cookie", f"session={stage.plant('cookie')}"),
        ("proxy-authorization", f"Basic {base64.b64encode(stage.plant('proxy').encode()).decode()}"),
        ("authorization", f"Basic {basic}"),
        ("x-goog-api-key", stage.plant("x-goog-api-key")),
        ("x-auth-token", stage.plant("x-auth-token")),
        ("x-note", f"use {stage.plant('key in another header', 'sk-ant-api03-')}"),
        ("user-agent", f"curl/8 ({stage.plant('key in user-agent', 'sk-ant-api03-')})"),
        ("referer", f"https://example.com/?api_key={stage.plant('key in referer', 'nxs_live_')}"),
        ("x-forwarded-for", stage.plant("x-forwarded-for", "nxs_live_")),
    ]
    assert stage.ask("Hello beside", "localhost", good, *beside).status == 200
    query = {
        "api_key": stage.plant("api_key in a query"),
        "access_token": stage.plant("access_token in a query"),
        "key": stage.plant("key in a query", "sk-ant-api03-"),
        "x": stage.plant("client key in a query", "nxs_live_"),
    }
    for target in (
        "/v1/messages",
        "/v1/models",
        "/v1/files",
        "/admin/login/",
        "/api/requests",
        "/page/",
        "/v2/nowhere",
    ):
        method = "POST" if target == "/v1/messages" else "GET"
        headers = [good, ("anthropic-version", "2023-06-01"), *beside]
        place = "answers to clients" if target.startswith("/v1") else "said back"  # to whoever has typed it
        stage.send(method, f"{target}?{urlencode(query)}", headers, _hello(), place=place)


def _hello() -> bytes:
    message = {"role": "user", "content": "Hello"}
    return json.dumps({"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [message]}).encode()


def _come_malformed(stage: Stage) -> None:
    numbers = count()

    def odd(start: str = "nxs_live_") -> str:
        return stage.plant(f"malformed {next(numbers)}", start)

    raw = (
        f"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key {odd()}\r\n\r\n",
        f"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: {odd()}\x00\r\n\r\n",
        f"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\n x-api-key: {odd()}\r\n\r\n",
        f"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: {odd()}\xe9\r\ncontent-length: 0\r\n\r\n",
        f"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: {odd()}\r\ncontent-length: x\r\n\r\n",
        f"POST /v1/messages HTTP/9\r\nhost: localhost\r\nx-api-key: {odd()}\r\n\r\n",
        f"GET /{odd('')}\x01 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        f"GET /%ff/{odd()} HTTP/1.1\r\nhost: {odd()}\r\nconnection: close\r\n\r\n",
        f"GET /admin/ HTTP/1.1\r\nhost: {odd()}\r\ncookie: sessionid={odd('')}\r\nconnection: close\r\n\r\n",
    )
    for each in raw:
        with rawhttp.connection(stage.served.port) as opened, contextlib.suppress(ConnectionError):
            opened.sendall(each.encode("latin-1"))
            opened.recv(4096)
    for value in (odd() * 300, f"Bearer  Bearer {odd()}", f"bearer\t{odd('')}", f"Digest response={odd('')}"):
        stage.send("POST", "/v1/messages", [("authorization", value)], _hello())


def _fetch_tokens(stage: Stage) -> None:
    """What clients fetch tokens with, through Nexus; the stand-in has no such path."""
    key = ("x-nexus-key", stage.planted["key of localhost"])
    version = ("anthropic-version", "2023-06-01")
    for path in ("/v1/oauth/token", "/v1/oauth/revoke", "/v1/vaults/1/credentials"):
        grant = {"grant_type": "refresh_token", "refresh_token": stage.plant(f"grant for {path}", "sk-ant-ort01-")}
        stage.send("POST", path, [key, version, ("content-type", "application/json")], json.dumps(grant).encode())
        grant["refresh_token"] = stage.plant(f"typed grant for {path}")
        stage.send("POST", path, [key, version, ("content-type", FORM)], urlencode(grant).encode())
        stage.send("GET", f"{path}?{urlencode(grant)}", [key, version])


def _run_tasks(stage: Stage) -> None:
    asked = [each for each in stage.oauth.asked if each.get("grant_type") == "refresh_token"]
    assert stage.planted["refresh token"] in [each["refresh_token"] for each in asked]
    sent = {value for each in stage.standin.recorder.exchanges for _, value in each.headers}
    stage.renewed = [value.removeprefix("Bearer ") for value in sent if value.startswith(f"Bearer {ACCESS}")]
    for number, token in enumerate([*stage.oauth.tokens, *stage.renewed]):
        if token not in stage.planted.values():
            stage.canaries.note(f"token of the server {number}", token)
    echo = json.dumps({"error": stage.planted["refused refresh token"]}).encode()
    stage.oauth.troubles.append(Trouble(400, echo))
    calls = "\n".join(f"print({name}, {name}())" for name in TASKS)
    stage.say("tasks", stage.served.run(f"from telemetry.tasks import {', '.join(TASKS)}\n{calls}").encode())


def _type_into_forms(stage: Stage) -> None:
    """Secrets in forms that are wrong in other places, or in these very ones."""
    add = "/admin/{}/add/".format

    def typed(target: str, *names: str, start: str = "", **form: str) -> None:
        secrets = {name: stage.plant(f"{name} typed into {target} {start}", start) for name in names}
        answer = stage.console(target, "POST", place="forms", form=[*form.items(), *secrets.items()])
        assert answer.status == 200
        assert b"rror" in answer.body

    for start in ("sk-ant-api03-", "nxs_live_", "sk-ant-oat01-", "two words "):
        typed(add("accounts/credential"), "secret", start=start, kind="api_key")
    typed(add("telemetry/slacksettings"), "new_webhook_url", start="ftp://")
    typed(add("telemetry/slacksettings"), "new_webhook_url", start="https://h/", forget_webhook_url="on")
    typed(add("telemetry/webhook"), "new_url", "new_secret", start="ftp://")
    typed(add("auth/user"), "password1", "password2")
    typed("/admin/login/", "password", username="nobody")
    state = urlencode({"code": stage.plant("code"), "state": stage.plant("state")})
    stage.console(f"/admin/accounts/credential/signed-in/callback/?{state}", place="forms")
    stage.console("/admin/accounts/credential/", place="forms")


def _read_the_console(stage: Stage) -> None:
    for who in (0, 1):
        pages = stage.served.run(REGISTRY).split() if who == 0 else [*stage.seen]
        _walk(stage, ["/admin/", *pages], who)
    _ask_the_api(stage)
    _meet_a_fault(stage)


def _walk(stage: Stage, begin: list[str], who: int) -> None:
    seen: set[str] = set()
    waiting = [*begin]
    while waiting and len(seen) < PAGES_MAX:
        page = waiting.pop(0)
        if page in seen:
            continue
        seen.add(page)
        answer = stage.console(page, who=who)
        assert answer.status in (200, 302, 403, 404), f"{page} {answer.status}"
        links = re.findall(rb'href="(/admin/[^"#?]+)', answer.body)
        waiting += [link for link in (found.decode() for found in links) if "logout" not in link]
    stage.seen = seen


def _ask_the_api(stage: Stage) -> None:
    key = ("x-dashboard-key", stage.planted["DASHBOARD_API_KEY"])
    document = json.loads(stage.send("GET", "/api/openapi.json", [key], place="API").body)
    paths = [path for path in document["paths"] if "{" not in path]
    assert len(paths) > 10
    for path in paths:
        asked = {"text": "?text=Hello", "by": "?by=key"}.get("by" if path.endswith("breakdown") else "", "")
        assert stage.send("GET", path + asked, [key], place="API").status == 200, path
    requests = json.loads(stage.send("GET", "/api/requests?limit=1000", [key], place="API").body)["requests"]
    for row in requests:
        assert stage.send("GET", f"/api/requests/{row['id']}", [key], place="API").status == 200
    stage.send("GET", "/api/requests/export?format=jsonl", [key], place="API")
    wrong = ("x-dashboard-key", stage.plant("wrong dashboard key"))
    assert stage.send("GET", "/api/requests", [wrong], place="API").status == 401
    for target in ("limit", "cursor", "status", "since", "api_key"):
        stage.send("GET", f"/api/requests?{target}={stage.plant(f'typed into {target}')}", [key], place="API")
    bearer = ("authorization", f"Bearer {stage.planted['METRICS_TOKEN']}")
    assert stage.send("GET", "/metrics", [bearer], place="metrics").status == 200
    stage.send("GET", "/metrics", [("authorization", f"Bearer {stage.plant('wrong metrics token')}")], place="metrics")
    for path in ("/health", "/health/live", "/", "/client-setup/settings.json"):
        stage.send("GET", path, [bearer], place="health")


def _meet_a_fault(stage: Stage) -> None:
    """A page that fails; where DEBUG is on it shows settings and what was sent."""
    beside = [
        (name, stage.plant(f"{name} to a page that fails")) for name in ("x-api-key", "x-nexus-key", "authorization")
    ]
    headers = [("x-dashboard-key", stage.planted["DASHBOARD_API_KEY"]), *beside]
    typed = [(name, stage.plant(f"{name} typed into a page that fails")) for name in ("password", "new_secret")]
    assert stage.console("/page/", "GET", *headers, place="tracebacks").status == 500
    stage.console("/page/", "POST", *headers, place="tracebacks", form=typed)


def _use_commands(stage: Stage) -> None:
    originals = stage.served.environment["CREDENTIALS_DIR"]
    for arguments in (
        ("check-credentials",),
        ("rotate-keys", "--check"),
        ("import-credentials", originals, "--dry-run"),
    ):
        stage.say("commands", _printed(stage.served, *arguments))


def _printed(served: Served, *arguments: str) -> bytes:
    command = [sys.executable, "-m", "nexus", *arguments]
    done = subprocess.run(command, env=served.environment, capture_output=True, check=False, timeout=60)
    assert b"Usage:" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def _wait_for_notices(stage: Stage) -> None:
    """Errors and conversations were told, to Slack and to webhooks, and the angry one has answered."""
    eventually(lambda: stage.angry.received, 30)
    eventually(lambda: _told(stage) >= TOLD, 30)
    eventually(lambda: "Hello localhost" in str([each.raw for each in stage.slack.received]), 30)
    eventually(lambda: [row for row in stage.served.rows("telemetry_target") if row["failing_reason"]], 30)


def _told(stage: Stage) -> set[str]:
    """Paths, without the secrets in them."""
    return {each.path.partition("Canary")[0] for each in stage.slack.received}


def _gather(stage: Stage) -> None:
    """What is there when all is over."""
    served = stage.served
    welcome, _, log = (served.data / "serve.log").read_text().partition("claude -p Hello\n")
    others = (path.read_bytes() for path in served.data.glob("*.log") if path.name != "serve.log")
    stage.say("logs", log.encode(), *others)
    stage.say("welcome", welcome.encode())
    raw = [path.read_bytes() for path in sorted(served.data.rglob("*")) if _is_other(path)]
    stage.say("database", canaries.database(served), served.run(DECODED_SESSIONS).encode(), *raw)
    for each in [*stage.slack.received, *stage.angry.received]:
        stage.say("traces" if each.path == TRACES_PATH else "notices", each.raw)
    if stage.redis is not None:
        stage.say("Redis", stage.redis.dump())


def _is_other(path: Path) -> bool:
    """A file of SQLite, a state file: also what was deleted there and not yet overwritten."""
    return path.is_file() and "originals" not in path.parts and path.suffix != ".log"


# --- What is looked at ------------------------------------------------------------------------------------------------

PLACES = {
    "answers to clients": "message_stop",
    "logs": "exchange",
    "welcome": "Nexus serves",
    "tracebacks": "rror",
    "pages": "sk-ant-api03-…0000",
    "forms": "errorlist",
    "API": '"requests"',
    "metrics": "nexus_",
    "health": '"status"',
    "commands": "no credential file",
    "tasks": "note_last_use",
    "notices": "Hello localhost",
    "traces": "nexus",
    "spool": "claude-haiku-4-5",
    "database": "v1:gAAAAA",
    "Redis": "telemetry.tasks",
}
"""And what stands there: a place where nothing was found because nothing is there proves nothing."""


@pytest.mark.parametrize("place", PLACES)
def test_no_secret_is_in(stage: Stage, place: str) -> None:
    if place == "Redis" and stage.redis is None:
        assert place not in stage.said  # there is none
        return
    content = bytes(stage.said[place])
    assert PLACES[place].encode() in content
    found = stage.canaries.found(content)
    assert not found, f"{len(found)} in {place}:\n" + "\n".join(found[:40])


def test_the_secrets_did_what_they_are_for(stage: Stage) -> None:
    sent = {value for each in stage.standin.recorder.exchanges for _, value in each.headers}
    planted = stage.planted
    assert {planted["api key"], *(f"Bearer {planted[name]}" for name in ("bearer token", "caller's own token"))} <= sent
    assert stage.renewed
    asked = str(stage.oauth.asked)
    assert all(planted[name] in asked for name in ("refresh token", "refused refresh token"))
    assert _told(stage) >= TOLD
    assert "Bearer xoxb-1-Canary" in str([each.headers.get("authorization", "") for each in stage.slack.received])


def test_every_encrypted_field_was_filled(stage: Stage) -> None:
    filled = stage.served.run(FILLED).splitlines()
    assert len(filled) >= 7
    assert all(line.endswith(" True") for line in filled), filled


@pytest.mark.parametrize("text", ["{}", "a{}", "ab{}b", "abc{}"])
def test_a_canary_is_found_in_each_form(text: str) -> None:
    planted = Canaries()
    said = text.format(planted.plant("one", "sk-ant-")).encode()
    for content in (said, base64.b64encode(said), base64.urlsafe_b64encode(said), said.hex().encode()):
        assert len(planted.found(b"some words " + content + b" and more")) == 1
    assert planted.found(b"sk-ant-Canary" + said[:10]) == []
