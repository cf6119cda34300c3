"""What people and scripts ask of the record, with values that many exchanges have, few, or none. Addresses are those
of the console and of the query API: this module sees them from outside, as they do."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Count

from accounts.ids import new_id
from accounts.models import ClientKey, Credential, Domain
from telemetry.fiction.words import NEVER_SAID, OFTEN_SAID, RARELY_SAID, SOMETIMES_SAID
from telemetry.models import BodyRow, ExchangeRow, Kind, Outcome

ADMIN = "/admin/telemetry/exchangerow/"
LIST = "/api/requests"
PAGE = 100
EXPORTED = 10_000


@dataclass(frozen=True, slots=True)
class Page:
    """One thing to look at."""

    name: str
    path: str
    query: dict[str, Any] = field(default_factory=dict)
    by_member: bool = False
    """Seen by somebody who sees two domains, not by a superuser who sees all."""

    @property
    def url(self) -> str:
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


def lists() -> list[Page]:
    """Pages of a hundred rows: none of them has a reason to read a whole table."""
    return [*_admin_pages(), *_list_pages(), *_searches()]


def details() -> list[Page]:
    request_id = ExchangeRow.objects.order_by("-id")[0].upstream_request_id
    return [
        Page("admin detail", f"{ADMIN}{_with_body()}/change/"),
        Page("API detail", f"{LIST}/{_with_body()}"),
        Page("API detail by request-id", f"{LIST}/{request_id}"),
    ]


def figures() -> list[Page]:
    """What has to read all rows of its span."""
    moments = ExchangeRow.objects.order_by("-id").values_list("started_at", flat=True)
    total = moments.count()
    since, first = moments[min(EXPORTED, total) - 1], moments[total - 1]
    return [
        Page("storage-stats, 24 hours", "/api/storage-stats"),
        Page("token-stats, 24 hours", "/token-stats"),
        Page("storage-stats, everything", "/api/storage-stats", {"since": first.isoformat()}),
        Page("token-stats, everything", "/token-stats", {"since": first.isoformat()}),
        Page("export of 10,000 rows", f"{LIST}/export", {"since": since.isoformat()}),
    ]


def quietest_domains(number: int) -> list[UUID]:
    return [value for value in reversed(_by_number("domain_id")) if value is not None][:number]


def _admin_pages() -> list[Page]:
    row = ExchangeRow.objects.exclude(session_id="").order_by("-id")[0]
    busy, quiet = _often_and_rarely("domain_id")
    filters: dict[str, dict[str, Any]] = {
        "outcome completed": {"outcome__exact": Outcome.COMPLETED.value},
        "outcome failed": {"outcome__exact": Outcome.FAILED.value},
        "kind inference": {"kind__exact": Kind.INFERENCE.value},
        "kind other": {"kind__exact": Kind.OTHER.value},
        "busy domain": {"domain__id__exact": busy},
        "quiet domain": {"domain__id__exact": quiet},
        "quiet domain, failed": {"domain__id__exact": quiet, "outcome__exact": Outcome.FAILED.value},
        "oldest first": {"o": 0},
        "search session": {"q": row.session_id},
        "search request-id": {"q": row.upstream_request_id},
        "search id": {"q": row.id},
        "search nothing": {"q": "nobody"},
    }
    return [
        Page("admin list", ADMIN),
        Page("admin list, page 50", ADMIN, {"p": 50}),
        *(Page(f"admin list, {name}", ADMIN, query) for name, query in filters.items()),
    ]


def _list_pages() -> list[Page]:
    ids = ExchangeRow.objects.order_by("-id").values_list("id", flat=True)
    total = ids.count()
    middle = ExchangeRow.objects.order_by("-id").values_list("started_at", flat=True)[total // 2]
    session = ExchangeRow.objects.exclude(session_id="").order_by("-id")[total // 2].session_id
    model, rare_model = _often_and_rarely("model")
    host, rare_host = (Domain.objects.get(id=value).host for value in _often_and_rarely("domain_id"))
    key, rare_key = (ClientKey.objects.get(id=value) for value in _often_and_rarely("client_key_id"))
    credential, rare_credential = (Credential.objects.get(id=value) for value in _often_and_rarely("credential_id"))
    filters: dict[str, dict[str, Any]] = {
        "busy domain": {"domain": host},
        "quiet domain": {"domain": rare_host},
        "no such domain": {"domain": "nobody.example.com"},
        "busy key": {"key": key.id},
        "quiet key": {"key": rare_key.id},
        "keys of one name": {"key": key.name},
        "no such key": {"key": new_id()},
        "busy credential": {"credential": credential.id},
        "quiet credential": {"credential": rare_credential.id},
        "frequent model": {"model": model},
        "rare model": {"model": rare_model},
        "no such model": {"model": "gpt-0"},
        "status 200": {"status": 200},
        "status 500": {"status": 500},
        "status 418": {"status": 418},
        "status 2xx": {"status": "2xx"},
        "status 5xx": {"status": "5xx"},
        "status 3xx": {"status": "3xx"},
        "outcome completed": {"outcome": Outcome.COMPLETED.value},
        "outcome failed": {"outcome": Outcome.FAILED.value},
        "kind inference": {"kind": Kind.INFERENCE.value},
        "kind other": {"kind": Kind.OTHER.value},
        "session": {"session": session},
        "no such session": {"session": "nobody"},
        "until the middle": {"until": middle.isoformat()},
        "since the middle": {"since": middle.isoformat()},
        "since tomorrow": {"since": datetime(2100, 1, 1, tzinfo=UTC).isoformat()},
        "busy domain, frequent model": {"domain": host, "model": model},
        "busy domain, rare model": {"domain": host, "model": rare_model},
        "quiet domain, rare model": {"domain": rare_host, "model": rare_model},
        "quiet domain, status 5xx": {"domain": rare_host, "status": "5xx"},
        "quiet domain, until the middle": {"domain": rare_host, "until": middle.isoformat()},
        "rare model, failed": {"model": rare_model, "outcome": Outcome.FAILED.value},
    }
    return [
        Page("API list", LIST),
        Page("API list, page 50", LIST, {"cursor": ids[min(49 * PAGE, total - 1)]}),
        Page("API list of a member", LIST, by_member=True),
        Page("API list of a member, no such model", LIST, {"model": "gpt-0"}, by_member=True),
        *(Page(f"API list, {name}", LIST, query) for name, query in filters.items()),
    ]


def _searches() -> list[Page]:
    busy, quiet = (Domain.objects.get(id=value).host for value in _often_and_rarely("domain_id"))
    words = {"frequent word": OFTEN_SAID, "less frequent word": SOMETIMES_SAID}
    words |= {"rare word": RARELY_SAID, "unknown word": NEVER_SAID}
    both = {"frequent and rare word": f"{OFTEN_SAID} {RARELY_SAID}", "five words": "the request is slow why"}
    return [
        *(Page(f"API search, {name}", LIST, {"text": text}) for name, text in (words | both).items()),
        Page("API search, frequent word, busy domain", LIST, {"text": OFTEN_SAID, "domain": busy}),
        Page("API search, frequent word, quiet domain", LIST, {"text": OFTEN_SAID, "domain": quiet}),
        Page("API search, rare word, quiet domain", LIST, {"text": RARELY_SAID, "domain": quiet}),
        Page(
            "API search, frequent word, rare model", LIST, {"text": OFTEN_SAID, "model": _often_and_rarely("model")[1]}
        ),
        Page("API search of a member, frequent word", LIST, {"text": OFTEN_SAID}, by_member=True),
        Page("API search of a member, rare word", LIST, {"text": RARELY_SAID}, by_member=True),
    ]


def _with_body() -> UUID:
    """The newest exchange with bodies, or the newest."""
    body = BodyRow.objects.order_by("-exchange_id").values_list("exchange_id", flat=True).first()
    return body or ExchangeRow.objects.order_by("-id").values_list("id", flat=True)[0]


def _often_and_rarely(column: str) -> tuple[Any, Any]:
    values = [value for value in _by_number(column) if value]
    return values[0], values[-1]


def _by_number(column: str) -> list[Any]:
    """Its values, the most frequent first. Reads the whole table: for benchmarks."""
    rows = ExchangeRow.objects.order_by().values(column).annotate(number=Count("*")).order_by("-number")
    return [row[column] for row in rows]
