"""The original's credential files: `telemetry.credentials.originals`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from accounts.keys import KeyRing
from accounts.models import ClientKey, Credential, Domain, OAuthToken
from accounts.register import load
from bench.standin import serve_in_thread
from telemetry.credentials.originals import export_all, import_all
from telemetry.models import SlackSettings
from tests.e2e.pools import ask
from tests.served import serve

pytestmark = pytest.mark.django_db
API_KEY = "sk-ant-api03-fake-of-a-file-0001"
ACCESS, REFRESH = "sk-ant-oat01-fake-access-of-a-file", "sk-ant-ort01-fake-refresh-of-a-file"
WEBHOOK = "https://hooks.slack.com/services/T0/B0/fake-of-a-file"
CLIENT_KEY = "cnp_live_fake-key-of-a-program"
WHOLE: dict[str, Any] = {
    "type": "api_key",
    "api_key": API_KEY,
    "slack": {
        "webhook_url": WEBHOOK,
        "channel": "#team",
        "username": "Claude",
        "icon_emoji": ":robot:",
        "enabled": True,
    },
    "client_api_key": CLIENT_KEY,
}
OAUTH: dict[str, Any] = {
    "type": "oauth",
    "oauth": {
        "accessToken": ACCESS,
        "refreshToken": REFRESH,
        "expiresAt": 1_900_000_000_000,
        "scopes": ["user:inference", "user:profile"],
        "isMax": True,
    },
}


def write(folder: Path, host: str, content: Any) -> None:
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    (folder / f"{host}.credentials.json").write_bytes(text if isinstance(text, bytes) else text.encode())


def run(folder: Path, **options: Any) -> dict[str, str]:
    """What was said of each file, by its host."""
    reports = import_all(folder, **{"owner": "Grace", **options})
    return {report.name.removesuffix(".credentials.json"): str(report).partition(": ")[2] for report in reports}


def test_a_file_becomes_a_domain_with_all_that_is_in_it(tmp_path: Path) -> None:
    write(tmp_path, "Team.example.com:3000", WHOLE)
    told = run(tmp_path)
    assert list(told.values()) == [
        "domain team.example.com, credential imported of kind api_key, Slack settings, client key"
    ]
    credential = Credential.objects.select_related("domain").get()
    assert (credential.secret, credential.owner, credential.domain.host) == (API_KEY, "Grace", "team.example.com")
    slack = SlackSettings.objects.get()
    assert (slack.webhook_url, slack.channel, slack.is_on) == (WEBHOOK, "#team", True)
    snapshot = load()
    assert KeyRing(lambda: snapshot).authenticate(CLIENT_KEY, "team.example.com").name == "imported"
    key = ClientKey.objects.get()
    assert key.masked == f"…{CLIENT_KEY[-4:]}"
    assert CLIENT_KEY[:12] not in str(ClientKey.objects.values().get())


def test_an_oauth_file_becomes_a_credential_that_renews_itself(tmp_path: Path) -> None:
    write(tmp_path, "team.example.com", OAUTH)
    run(tmp_path)
    token = OAuthToken.objects.select_related("credential").get()
    assert (token.access_token, token.refresh_token, token.version) == (ACCESS, REFRESH, 1)
    assert token.expires_at is not None
    assert (token.expires_at.timestamp(), token.scopes) == (1_900_000_000, "user:inference user:profile")
    assert (token.credential.kind, token.credential.secret) == ("oauth", None)


def test_to_run_it_again_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, "a.example.com", WHOLE)
    write(tmp_path, "b.example.com", OAUTH)
    run(tmp_path)
    OAuthToken.objects.update(access_token="newer", version=7)
    assert set(run(tmp_path).values()) == {"nothing new"}
    assert (Credential.objects.count(), ClientKey.objects.count()) == (2, 1)
    assert (OAuthToken.objects.get().access_token, OAuthToken.objects.get().version) == ("newer", 7)


def test_another_secret_is_taken_only_when_asked_for(tmp_path: Path) -> None:
    write(tmp_path, "a.example.com", WHOLE)
    run(tmp_path)
    write(tmp_path, "a.example.com", {"type": "api_key", "api_key": "sk-ant-api03-fake-of-a-file-0002"})
    assert "--replace" in run(tmp_path)["a.example.com"]
    assert "replaced credential" in run(tmp_path, replace=True)["a.example.com"]
    assert Credential.objects.get().masked.endswith("0002")


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, "a.example.com", WHOLE)
    assert "credential imported" in run(tmp_path, is_dry=True)["a.example.com"]
    assert not Domain.objects.exists()


def test_a_domain_that_switched_slack_off_stays_silent(tmp_path: Path) -> None:
    write(tmp_path, "a.example.com", WHOLE | {"slack": {"webhook_url": WEBHOOK, "enabled": False}})
    run(tmp_path)
    assert SlackSettings.objects.get().is_on is False


BROKEN: list[tuple[str, Any, str]] = [
    ("empty.example.com", "", "not valid JSON"),
    ("list.example.com", [], "no credential file"),
    ("bytes.example.com", b"\xff\xfe", "not valid JSON"),
    ("deep.example.com", "[" * 100_000, "not valid JSON|no credential file"),
    ("type.example.com", {"type": "vertex"}, "neither api_key nor oauth"),
    ("wrong.example.com", {"type": "api_key", "api_key": 5}, "no credential file"),
    ("none.example.com", {"type": "api_key"}, "has none"),
    ("both.example.com", WHOLE | {"oauth": OAUTH["oauth"]}, "an api_key and an oauth block"),
    ("short.example.com", {"type": "api_key", "api_key": "short"}, "too short"),
    ("words.example.com", {"type": "api_key", "api_key": API_KEY + " x"}, "one word"),
    ("token.example.com", {"type": "oauth", "oauth": {}}, "no token"),
    ("hook.example.com", WHOLE | {"slack": {"webhook_url": "ftp://x"}}, "http"),
    ("weak.example.com", WHOLE | {"client_api_key": "secret"}, "client key"),
    ("mixed.example.com", WHOLE | {"client_api_key": API_KEY}, "client key"),
    ("..", WHOLE, "no host name"),
    ("a b", WHOLE, "no host name"),
    ("memory:x/".replace("/", "_") + "?", WHOLE, ""),
    ("large.example.com", " " * 1_000_001, "larger than"),
]


def test_a_broken_file_is_named_with_what_is_wrong_and_the_rest_go_on(tmp_path: Path) -> None:
    for host, content, _ in BROKEN:
        write(tmp_path, host, content)
    (tmp_path / "folder.example.com.credentials.json").mkdir()
    (tmp_path / "link.example.com.credentials.json").symlink_to(tmp_path / "good.example.com.credentials.json")
    (tmp_path / "notes.txt").write_text("not ours")
    write(tmp_path, "good.example.com", OAUTH)
    told = run(tmp_path)
    for host, _, word in BROKEN:
        assert any(part in told[host] for part in word.split("|")), (host, told[host])
    assert "no plain file" in told["folder.example.com"]
    assert "no plain file" in told["link.example.com"]
    assert "credential imported" in told["good.example.com"]
    assert "notes.txt" not in told
    for secret in (API_KEY, ACCESS, REFRESH, WEBHOOK, CLIENT_KEY):
        assert secret not in str(told)
    assert not set(Domain.objects.values_list("host", flat=True)) & {host for host, _, word in BROKEN if word}


def test_two_domains_cannot_have_the_same_client_key(tmp_path: Path) -> None:
    write(tmp_path, "a.example.com", WHOLE)
    write(tmp_path, "b.example.com", WHOLE)
    assert "belongs to the domain a.example.com" in run(tmp_path)["b.example.com"]
    assert not Domain.objects.filter(host="b.example.com").exists()


def test_what_is_exported_can_be_imported(tmp_path: Path) -> None:
    for folder in ("source", "target"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "source", "a.example.com", WHOLE)
    write(tmp_path / "source", "b.example.com", OAUTH)
    run(tmp_path / "source")
    assert len(list(export_all(tmp_path / "target"))) == 2
    written = {path.name: json.loads(path.read_bytes()) for path in (tmp_path / "target").iterdir()}
    assert written["a.example.com.credentials.json"]["api_key"] == API_KEY
    assert written["a.example.com.credentials.json"]["slack"]["webhook_url"] == WEBHOOK
    assert written["b.example.com.credentials.json"]["oauth"]["refreshToken"] == REFRESH
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "target").iterdir()} == {0o600}
    with pytest.raises(FileExistsError):
        list(export_all(tmp_path / "target"))
    Domain.objects.all().delete()
    assert len(run(tmp_path / "target")) == 2
    assert OAuthToken.objects.get().refresh_token == REFRESH


@pytest.mark.e2e
def test_a_program_of_the_original_goes_on_with_its_key(tmp_path: Path) -> None:
    """CREDENTIALS_DIR at the start of `nexus serve`; the program calls by its old key."""
    source = tmp_path / "credentials"
    source.mkdir()
    write(source, "localhost", WHOLE)
    write(source, "broken.example.com", "{")
    with serve_in_thread() as standin, serve(tmp_path, standin.url, CREDENTIALS_DIR=str(source)) as nexus:
        nexus.key = CLIENT_KEY
        assert ask(nexus).status == 200
        assert dict(standin.recorder.last.headers)["x-api-key"] == API_KEY
        said = (tmp_path / "serve.log").read_text()
        assert "broken.example.com.credentials.json: it is not valid JSON" in said
        command = [sys.executable, "-m", "nexus", "import-credentials", str(source)]
        done = subprocess.run(command, env=nexus.environment, capture_output=True, text=True, check=False)
        assert (done.returncode, "1 of 2 files were read" in done.stdout) == (1, True)
        command[3:] = ["export-credentials", str(tmp_path / "out")]
        refused = subprocess.run(command, env=nexus.environment, capture_output=True, text=True, check=False)
        assert (refused.returncode, os.path.exists(tmp_path / "out")) == (2, False)
