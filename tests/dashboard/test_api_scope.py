"""What a member of one domain can learn of another: nothing, not even whether it is there."""

import json
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext

from accounts.ids import new_id
from accounts.models import ClientKey, Credential, Domain, Membership
from telemetry.money.rollups import roll_up
from telemetry.record.exchange import Exchange, Outcome
from tests.dashboard.asking import LIST, bare_exchange, ids, preview
from tests.telemetry.facts import stored_exchange

pytestmark = pytest.mark.django_db(transaction=True)
EXPORT = "/api/requests/export"
FIGURES = ("/api/stats", "/api/stats/series", "/api/stats/breakdown", "/api/stats/choices")
ENDPOINTS = (LIST, EXPORT, "/token-stats", "/api/storage-stats", *FIGURES)
SECRET_WORD = "theirsecretword"


@pytest.fixture
def own(domain: Domain) -> Exchange:
    row = stored_exchange(domain_id=domain.id, session_id="ours", upstream_request_id="req_shared")
    preview(row, "our words", "our answer")
    roll_up(at_once=True)
    return row


@pytest.fixture
def foreign(other_domain: Domain, own: Exchange) -> Exchange:
    """Newer than the member's own, with a key and a credential of the same names."""
    key, _ = ClientKey.issue(other_domain, "their key")
    credential = Credential.objects.create(domain=other_domain, name="theirs", secret="sk-ant-api03-fake-of-theirs-01")
    row = stored_exchange(
        domain_id=other_domain.id,
        client_key_id=key.id,
        credential_id=credential.id,
        model="their-model",
        session_id="theirs",
        status=418,
        outcome=Outcome.BROKEN,
        upstream_request_id="req_theirs",
    )
    preview(row, SECRET_WORD, SECRET_WORD)
    bare_exchange(outcome=Outcome.REFUSED, status=401, user_agent="of no domain")
    roll_up(at_once=True)
    return row


async def exported(user: User, **query: str) -> list[dict[str, Any]]:
    client = AsyncClient()
    await client.aforce_login(user)
    response: Any = await client.get(EXPORT, {"format": "jsonl", **query})
    assert response.status_code == 200
    text = b"".join([part async for part in response.streaming_content])
    return [json.loads(line) for line in text.splitlines()]


def test_a_member_sees_the_rows_of_the_own_domain_alone(console: Client, own: Exchange, foreign: Exchange) -> None:
    assert ids(console) == [str(own.id)]
    assert console.get("/token-stats").json().keys() == {"claude.example.com"}
    stats = console.get("/api/storage-stats").json()
    assert {row["domain"] for row in stats["stats"] + stats["storage"]} == {"claude.example.com"}
    answers = b"".join(console.get(path).content for path in (LIST, "/token-stats", "/api/storage-stats"))
    assert b"their" not in answers
    assert b"other.example.com" not in answers


@pytest.mark.parametrize("path", [LIST, "/token-stats", "/api/storage-stats", *FIGURES])
def test_a_foreign_domain_answers_like_an_unknown_one(
    console: Client, own: Exchange, foreign: Exchange, path: str
) -> None:
    with CaptureQueriesContext(connection) as for_theirs:
        theirs = console.get(path, {"domain": "other.example.com"})
    with CaptureQueriesContext(connection) as for_unknown:
        unknown = console.get(path, {"domain": "nobody.example.com"})
    assert len(for_theirs) == len(for_unknown)
    assert (theirs.status_code, theirs.content) == (unknown.status_code, unknown.content)
    assert theirs.status_code == 200


@pytest.mark.parametrize("by", ["id", "hex", "upstream"])
def test_a_foreign_request_answers_like_an_unknown_one(
    console: Client, own: Exchange, foreign: Exchange, by: str
) -> None:
    names = {"id": str(foreign.id), "hex": foreign.id.hex, "upstream": "req_theirs"}
    theirs, unknown = console.get(f"{LIST}/{names[by]}"), console.get(f"{LIST}/{new_id()}")
    assert (theirs.status_code, theirs.content) == (unknown.status_code, unknown.content)
    assert theirs.status_code == 404
    assert console.get(f"{LIST}/{own.id}").status_code == 200


def test_an_upstream_id_that_two_domains_share_shows_the_own(
    console: Client, own: Exchange, other_domain: Domain
) -> None:
    stored_exchange(domain_id=other_domain.id, upstream_request_id="req_shared")
    assert console.get(f"{LIST}/req_shared").json()["request"]["id"] == str(own.id)


def test_no_filter_reaches_a_foreign_row(reader: Client, own: Exchange, foreign: Exchange) -> None:
    for query in (
        {"key": foreign.client_key_id},
        {"key": "their key"},
        {"credential": foreign.credential_id},
        {"credential": "theirs"},
        {"model": "their-model"},
        {"status": "418"},
        {"outcome": "broken"},
        {"outcome": "refused"},
        {"session": "theirs"},
        {"text": SECRET_WORD},
        {"since": foreign.started_at.isoformat()},
        {"domain": "other.example.com", "session": "theirs"},
    ):
        assert ids(reader, **query) == [], query


def test_a_foreign_cursor_is_a_position_and_no_more(console: Client, own: Exchange, foreign: Exchange) -> None:
    assert ids(console, cursor=foreign.id) == ids(console, cursor=UUID(int=2**128 - 1)) == [str(own.id)]


@pytest.mark.anyio
async def test_an_export_holds_the_own_rows_alone(member: User, own: Exchange, foreign: Exchange) -> None:
    assert [row["id"] for row in await exported(member)] == [str(own.id)]
    assert await exported(member, domain="other.example.com") == []
    assert await exported(member, key="their key") == []


def test_rows_without_a_domain_are_for_those_who_see_all(script: Client, own: Exchange, foreign: Exchange) -> None:
    (row,) = script.get(LIST, {"outcome": "refused"}).json()["requests"]
    assert (row["domain"], row["user_agent"]) == (None, "of no domain")


@pytest.mark.parametrize("path", FIGURES)
def test_figures_are_those_of_the_own_domain_alone(
    console: Client, own: Exchange, foreign: Exchange, path: str
) -> None:
    everything = console.get(path, {"by": "key"} if path.endswith("breakdown") else {})
    assert everything.status_code == 200
    for word in (b"their", b"other.example.com", str(foreign.client_key_id).encode(), str(foreign.domain_id).encode()):
        assert word not in everything.content
    if path == "/api/stats":
        assert everything.json()["totals"]["requests"] == 1


@pytest.mark.parametrize("path", FIGURES)
def test_no_filter_of_figures_reaches_a_foreign_hour(
    console: Client, own: Exchange, foreign: Exchange, path: str
) -> None:
    nothing = console.get(path, {"model": "nobody"}).content
    assert nothing != console.get(path).content
    for query in (
        {"key": str(foreign.client_key_id)},
        {"key": "their key"},
        {"credential": str(foreign.credential_id)},
        {"credential": "theirs"},
        {"model": "their-model"},
        {"domain": "other.example.com"},
    ):
        assert console.get(path, query).content == nothing, query


def test_a_staff_account_without_a_domain_sees_an_empty_record(own: Exchange, foreign: Exchange) -> None:
    client = Client()
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert ids(client) == []
    assert client.get("/token-stats").json() == {}
    answer = client.get("/api/storage-stats").json()
    assert (answer["stats"], answer["storage"]) == ([], [])
    assert client.get(f"{LIST}/{own.id}").status_code == 404


def test_who_loses_a_membership_sees_nothing_at_once(console: Client, member: User, own: Exchange) -> None:
    assert ids(console) == [str(own.id)]
    Membership.objects.filter(user=member).delete()
    assert ids(console) == []


def test_without_the_permission_nothing_of_what_was_said_is_shown(console: Client, own: Exchange) -> None:
    shown = console.get(f"{LIST}/{own.id}").json()["request"]
    said = {"request_preview", "response_preview", "request_headers", "response_headers", "request_body"}
    assert (said | {"response_body", "response_message"}).isdisjoint(shown)
    assert "telemetry.view_bodyrow" in shown["bodies_note"]
    (listed,) = console.get(LIST).json()["requests"]
    assert said.isdisjoint(listed)


def test_with_the_permission_it_is(reader: Client, own: Exchange) -> None:
    shown = reader.get(f"{LIST}/{own.id}").json()["request"]
    assert (shown["request_preview"], shown["request_body"]) == ("our words", "{}")
    assert reader.get(LIST).json()["requests"][0]["response_preview"] == "our answer"
    assert ids(reader, text="words") == [str(own.id)]


@pytest.mark.parametrize("path", [LIST, EXPORT])
def test_without_the_permission_nobody_searches_what_was_said(console: Client, own: Exchange, path: str) -> None:
    response = console.get(path, {"text": "words"})
    assert response.status_code == 403
    assert response.json()["error"].endswith(".")


@pytest.mark.parametrize("path", [*ENDPOINTS, f"{LIST}/{new_id()}", "/api/docs", "/api/openapi.json"])
def test_nobody_comes_in_without_a_key_or_a_session(client: Client, own: Exchange, path: str) -> None:
    for headers in ({}, {"X-Dashboard-Key": ""}, {"X-Dashboard-Key": "wrong"}, {"Authorization": "Bearer x"}):
        response = client.get(path, headers=headers)
        assert response.status_code == 401
        assert response.json()["error"].endswith(".")
    client.force_login(User.objects.create_user("customer"))
    assert client.get(path).status_code == 401


@pytest.mark.parametrize("path", [*ENDPOINTS, "/api/docs"])
def test_guessing_the_key_is_limited(script: Client, path: str) -> None:
    for _ in range(30):
        assert script.get(path, headers={"X-Dashboard-Key": "guess"}).status_code == 401
    response = script.get(path, headers={"X-Dashboard-Key": "guess"})
    assert (response.status_code, response.headers["Retry-After"]) == (429, "60")


def test_a_client_key_of_nexus_does_not_open_the_record(client: Client, issued: tuple[ClientKey, str]) -> None:
    secret = issued[1]
    for headers in ({"x-api-key": secret}, {"x-nexus-key": secret}, {"X-Dashboard-Key": secret}):
        assert client.get(LIST, headers=headers).status_code == 401
