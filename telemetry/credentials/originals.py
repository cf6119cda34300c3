"""The credential files of the original, `<host>.credentials.json`: read into the register, and written from it
(facts/original-features.md 1.2). A file's name is a host name and never becomes anything else."""

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import hosts
from accounts.models import ClientKey, Credential, Domain, Installation, OAuthToken
from accounts.secret import digest, masked, validate_upstream_secret
from telemetry.models import SlackSettings
from telemetry.notices.addresses import validate_url

ENDING = ".credentials.json"
NAME = "imported"
BYTES_MAX = 1_000_000
CLIENT_KEY_MIN_LENGTH, CLIENT_KEY_MAX_LENGTH = 16, 500
OAUTH_TOKEN_START = "sk-ant-oat"  # noqa: S105 (how such a token begins)


class _OAuth(msgspec.Struct):
    """The original's names."""

    accessToken: str = ""
    refreshToken: str = ""
    expiresAt: float = 0
    """In milliseconds since 1970."""
    scopes: list[str] = []


class _Slack(msgspec.Struct):
    webhook_url: str = ""
    channel: str = ""
    username: str = ""
    icon_emoji: str = ""
    enabled: bool = True


class _File(msgspec.Struct):
    type: str
    api_key: str = ""
    oauth: _OAuth | None = None
    slack: _Slack | None = None
    client_api_key: str = ""


class Broken(Exception):
    """A file that cannot be taken; the sentence says what is wrong with it, and nothing of what is in it."""


class Report(msgspec.Struct):
    """What became of one file."""

    name: str
    done: list[str] = []
    problem: str = ""

    def __str__(self) -> str:
        if self.problem:
            return f"{self.name}: {self.problem}"
        return f"{self.name}: {', '.join(self.done) or 'nothing new'}"


def folder(text: str) -> Path:
    """As the original reads it: `~/` is the home directory, anything else is relative to where we are."""
    return Path(text).expanduser()


def import_all(source: Path, *, owner: str, replace: bool = False, is_dry: bool = False) -> Iterator[Report]:
    """A report for each file, broken or not, in the order of their names. Raises OSError where there is no such
    folder."""
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        if entry.name.endswith(ENDING):
            yield _import(Path(entry.path), owner=owner, replace=replace, is_dry=is_dry)


def _import(path: Path, *, owner: str, replace: bool, is_dry: bool) -> Report:
    report = Report(path.name, [])
    try:
        host = _host(path.name)
        found = _read(path)
        with transaction.atomic():
            report.done = list(_take(host, found, owner=owner, replace=replace))
            if is_dry:
                transaction.set_rollback(True)
    except Broken as broken:
        report.problem = str(broken)
    except ValidationError as error:
        report.problem = " ".join(error.messages)
    return report


def _host(name: str) -> str:
    host = hosts.normalise(name.removesuffix(ENDING))
    try:
        hosts.validate(host)
    except ValidationError:
        raise Broken("its name is no host name") from None
    return host


def _read(path: Path) -> _File:
    try:
        kind = path.lstat()
        if not stat.S_ISREG(kind.st_mode):
            raise Broken("it is no plain file")
        if kind.st_size > BYTES_MAX:
            raise Broken(f"it is larger than {BYTES_MAX:,} bytes")
        found = msgspec.json.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise Broken(f"it cannot be read ({error.strerror or type(error).__name__})") from None
    except msgspec.ValidationError as error:
        raise Broken(f"it is no credential file: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Broken("it is not valid JSON") from None
    return _checked(found)


def _checked(found: _File) -> _File:
    if found.type == "api_key" and not found.api_key:
        raise Broken("its type is api_key, and it has none")
    if found.type == "oauth" and not (found.oauth and (found.oauth.accessToken or found.oauth.refreshToken)):
        raise Broken("its type is oauth, and it has no token")
    if found.api_key and found.oauth:
        raise Broken("it has an api_key and an oauth block: leave the one that its type names")
    if found.type not in ("api_key", "oauth"):
        raise Broken("its type is neither api_key nor oauth")
    tokens = [found.oauth.accessToken, found.oauth.refreshToken] if found.type == "oauth" and found.oauth else []
    for secret in (found.api_key if found.type == "api_key" else "", *tokens):
        if secret:
            validate_upstream_secret(secret)
    if found.slack and found.slack.webhook_url:
        validate_url(found.slack.webhook_url)
    if found.client_api_key and not _is_good_client_key(found.client_api_key):
        raise Broken(
            f"its client key is no word of {CLIENT_KEY_MIN_LENGTH} to {CLIENT_KEY_MAX_LENGTH} printable characters, or "
            "one of Anthropic's keys: choose another one and give it to the programs"
        )
    return found


def _is_good_client_key(text: str) -> bool:
    is_word = text.isascii() and text.isprintable() and " " not in text
    has_length = CLIENT_KEY_MIN_LENGTH <= len(text) <= CLIENT_KEY_MAX_LENGTH
    return is_word and has_length and not text.startswith("sk-ant-")


def _take(host: str, found: _File, *, owner: str, replace: bool) -> Iterator[str]:
    domain, is_new = Domain.objects.get_or_create(host=host)
    if is_new:
        yield f"domain {host}"
    if found.type == "api_key":
        yield from _take_key(domain, found.api_key, owner=owner, replace=replace)
    elif found.oauth is not None:
        yield from _take_oauth(domain, found.oauth, owner=owner, replace=replace)
    if found.slack is not None:
        yield from _take_slack(domain, found.slack, replace=replace)
    if found.client_api_key:
        yield from _take_client_key(domain, found.client_api_key)


def _take_key(domain: Domain, secret: str, *, owner: str, replace: bool) -> Iterator[str]:
    pepper = Installation.current().pepper
    if Credential.objects.filter(domain=domain, fingerprint=digest(secret, pepper)[:16]).exists():
        return
    kind = Credential.Kind.BEARER if secret.startswith(OAUTH_TOKEN_START) else Credential.Kind.API_KEY
    yield _saved(_imported(domain, kind, owner, replace=replace), secret)


def _take_oauth(domain: Domain, found: _OAuth, *, owner: str, replace: bool) -> Iterator[str]:
    """One that was imported before has lived on here: its refresh token is not the file's any more."""
    known = Credential.objects.filter(domain=domain, name=NAME, kind=Credential.Kind.OAUTH).first()
    if known is not None and not replace:
        return
    credential = known or _imported(domain, Credential.Kind.OAUTH, owner, replace=replace)
    told = _saved(credential, None)
    values: dict[str, object] = {
        "access_token": found.accessToken or None,
        "refresh_token": found.refreshToken or None,
        "masked": masked(found.accessToken),
        "expires_at": _moment(found.expiresAt),
        "scopes": " ".join(found.scopes)[:500],
        "needs_login": not found.refreshToken,
        "retry_at": None,
        "failure": "",
    }
    known_token = OAuthToken.objects.filter(credential=credential).first()
    values["version"] = known_token.version + 1 if known_token else 1
    OAuthToken.objects.update_or_create(credential=credential, defaults=values)
    Installation.announce_change()
    yield told


def _moment(milliseconds: float) -> datetime:
    """Nonsense is the past: the token is renewed then."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _imported(domain: Domain, kind: str, owner: str, *, replace: bool) -> Credential:
    known: Credential | None = Credential.objects.filter(domain=domain, name=NAME).first()
    if known is None:
        return Credential(domain=domain, name=NAME, owner=owner, kind=kind)
    if not replace:
        raise Broken("its domain has another imported credential already: use --replace to take this one instead")
    known.kind = kind
    return known


def _saved(credential: Credential, secret: str | None) -> str:
    verb = "credential" if credential._state.adding else "replaced credential"
    credential.secret = secret
    credential.save()
    return f"{verb} {credential.name} of kind {credential.kind}"


def _take_slack(domain: Domain, found: _Slack, *, replace: bool) -> Iterator[str]:
    """`enabled: false` is silence: the original fell back to the webhook of all others then."""
    known = SlackSettings.objects.filter(domain=domain).first()
    if known is not None and not replace:
        return
    settings = known or SlackSettings(domain=domain)
    settings.is_on = False if not found.enabled else (True if found.webhook_url else None)
    settings.webhook_url = found.webhook_url or None
    settings.channel, settings.username = found.channel[:80], found.username[:80]
    settings.icon_emoji = found.icon_emoji[:80]
    settings.save()
    yield "Slack settings"


def _take_client_key(domain: Domain, secret: str) -> Iterator[str]:
    computed = digest(secret, Installation.current().pepper)
    known = ClientKey.objects.filter(digest=computed).first()
    if known is not None:
        if known.domain_id != domain.id:
            raise Broken(f"its client key belongs to the domain {known.domain.host} already")
        return
    key = ClientKey(domain=domain, name=NAME)
    key.take_secret(secret)
    key.save()
    yield "client key"


# --- And back ---------------------------------------------------------------------------------------------------------


def export_all(target: Path) -> Iterator[Report]:
    """Writes a file for each domain that has a credential which the original can use: its first one. Client keys are
    not known here and cannot be written. Raises OSError, and FileExistsError where the folder holds something."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise FileExistsError(f"{target} is not empty")
    for domain in Domain.objects.order_by("host"):
        rows = Credential.objects.filter(domain=domain, is_active=True).exclude(kind=Credential.Kind.FEDERATION)
        first = rows.select_related("token").order_by("is_standby", "priority", "created_at").first()
        if first is not None:
            yield _export(domain, first, rows.count(), target)


def _export(domain: Domain, credential: Credential, count: int, target: Path) -> Report:
    content = msgspec.to_builtins(_file_of(domain, credential))
    path = target / f"{domain.host}{ENDING}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode({key: value for key, value in content.items() if value})))
    others = f"; the original knows one credential of a domain, {count - 1} others are left out" if count > 1 else ""
    return Report(path.name, [f"credential {credential.name}{others}"])


def _file_of(domain: Domain, credential: Credential) -> _File:
    found = _File("api_key", slack=_slack_of(domain))
    if credential.kind == Credential.Kind.API_KEY:
        found.api_key = credential.secret or ""
        return found
    found.type, token = "oauth", getattr(credential, "token", None)
    ends_at = (token.expires_at if token else credential.expires_at) or datetime.fromtimestamp(0, UTC)
    found.oauth = _OAuth(
        (token.access_token if token else credential.secret) or "",
        (token.refresh_token if token else "") or "",
        ends_at.timestamp() * 1000,
        token.scopes.split() if token else [],
    )
    return found


def _slack_of(domain: Domain) -> _Slack | None:
    settings = SlackSettings.objects.filter(domain=domain).first()
    if settings is None:
        return None
    names = (settings.channel, settings.username, settings.icon_emoji)
    return _Slack(settings.webhook_url or "", *names, enabled=settings.is_on is not False)
