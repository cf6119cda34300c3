"""The query API: the list of requests, and its documentation."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.ids import first_id_at, new_id
from accounts.models import ClientKey, Credential
from telemetry.record.exchange import Kind, Outcome
from tests.dashboard.asking import LIST, get, ids, preview, reads, refusal
from tests.telemetry.facts import stored_exchange

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_answers_in_the_shape_of_the_original(
    script: Client, issued: tuple[ClientKey, str], credential: Credential
) -> None:
    assert get(script) == {"status": "ok", "requests": [], "count": 0, "next_cursor": None}
    key, _ = issued
    row = stored_exchange(client_key_id=key.id, credential_id=credential.id, domain_id=key.domain_id, usage='{"a":1}')
    (shown,) = (answer := get(script))["requests"]
    assert (answer["status"], answer["count"], answer["next_cursor"]) == ("ok", 1, None)
    assert (shown["domain"], shown["client_key"], shown["credential"]) == ("claude.example.com", "Ada's laptop", "main")
    assert (shown["id"], shown["input_tokens"], shown["outcome"]) == (str(row.id), 10, "completed")
    assert datetime.fromisoformat(shown["started_at"]) == row.started_at
    assert {"usage", "error_message", "request_headers", "request_body"}.isdisjoint(shown)


def test_the_list_costs_the_same_for_one_and_for_many(
    script: Client,
    issued: tuple[ClientKey, str],
    credential: Credential,
) -> None:
    key, _ = issued
    for _ in range(30):
        stored_exchange(client_key_id=key.id, credential_id=credential.id, domain_id=key.domain_id)
    with CaptureQueriesContext(connection) as queries:
        assert get(script)["count"] == 30
    assert reads(queries) == 4  # the rows, and the names of domains, keys and credentials
    (rows,) = [query["sql"] for query in queries if "telemetry_exchange" in query["sql"]]
    assert "OFFSET" not in rows
    assert '"usage"' not in rows


def test_pages_follow_one_another_without_gap_or_repetition(script: Client) -> None:
    wanted = [str(stored_exchange().id) for _ in range(7)][::-1]
    seen, cursor, sizes = [], "", []
    while cursor is not None:
        answer = get(script, limit=3, cursor=cursor)
        seen += [request["id"] for request in answer["requests"]]
        sizes.append(answer["count"])
        cursor = answer["next_cursor"]
        stored_exchange()  # what arrives meanwhile moves nothing
    assert seen == wanted
    assert sizes == [3, 3, 1]


def test_a_page_that_ends_with_the_rows_has_no_next(script: Client) -> None:
    for _ in range(2):
        stored_exchange()
    assert get(script, limit=2)["next_cursor"] is None


def test_filters_find_what_they_name(script: Client, issued: tuple[ClientKey, str], credential: Credential) -> None:
    key, _ = issued
    wanted = str(
        stored_exchange(
            domain_id=key.domain_id,
            client_key_id=key.id,
            credential_id=credential.id,
            model="claude-opus-4-6",
            status=429,
            outcome=Outcome.API_ERROR,
            kind=Kind.COUNT_TOKENS,
            session_id="a-session",
        ).id
    )
    stored_exchange()
    for query in (
        {"domain": "claude.example.com"},
        {"domain": "CLAUDE.example.com:8000"},
        {"key": key.id},
        {"key": key.name},
        {"credential": credential.id},
        {"credential": "main"},
        {"model": "claude-opus-4-6"},
        {"status": "429"},
        {"status": "4xx"},
        {"outcome": "api_error"},
        {"kind": "count_tokens"},
        {"session": "a-session"},
        {"key": key.name, "status": "4xx", "kind": "count_tokens"},
    ):
        assert ids(script, **query) == [wanted], query
    for query in (
        {"domain": "nobody.example.com"},
        {"key": "nobody"},
        {"key": credential.id},
        {"model": "claude-opus"},
        {"status": "5xx"},
        {"status": "428"},
        {"key": key.name, "status": "5xx"},
    ):
        assert ids(script, **query) == [], query


def test_a_filter_with_nothing_behind_it_is_none(script: Client) -> None:
    wanted = str(stored_exchange().id)
    assert ids(script, domain="", limit="", cursor="", key="", status="", since="", text="", outcome="") == [wanted]


def test_a_span_begins_with_since_and_ends_before_until(script: Client) -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    rows = [
        stored_exchange(id=first_id_at(noon + timedelta(hours=hour)), started_at=noon + timedelta(hours=hour))
        for hour in range(4)
    ]
    one, two = "2026-11-20T13:00:00Z", "2026-11-20T15:00:00+01:00"
    assert ids(script, since=one, until=two) == [str(rows[1].id)]
    assert ids(script, since=one) == [str(row.id) for row in rows[:0:-1]]
    assert ids(script, until="2026-11-20T15:00:00 01:00") == [str(row.id) for row in rows[1::-1]]
    assert ids(script, until="1066-10-14T09:00:00Z") == []
    assert len(ids(script, since="0001-01-01T00:00:00+14:00", until="9999-12-31T23:59:59-12:00")) == 4


def test_words_are_found_in_previews(script: Client) -> None:
    wanted = stored_exchange()
    preview(wanted, "Please translate the Poem", "Here it is: Über allen Gipfeln")
    preview(stored_exchange(), "Please sing")
    stored_exchange()
    for text in ("poem", "translate poem", "POEM please", "Gipfeln poem"):
        assert ids(script, text=text) == [str(wanted.id)], text
    for text in ("poem sing", "nothing of this", "' OR 1=1 --", "%", "\\"):
        assert ids(script, text=text) == [], text


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"cursor": "x"}, "next_cursor of an earlier answer"),
        ({"cursor": "x" * 1000}, "cursor"),
        ({"outcome": "great"}, "outcome"),
        ({"kind": "kind"}, "kind"),
        ({"status": "6xx"}, "a status is a number"),
        ({"status": "99999999999999"}, "a status is a number"),
        ({"status": "\u0664\u0662\u0669"}, "a status is a number"),  # digits, of another script
        ({"since": "2026-11-20T13:00:00"}, "has no zone"),
        ({"since": "2026-11-20"}, "has no zone"),
        ({"since": "yesterday"}, "ISO 8601"),
        ({"until": "99999-01-01T00:00:00Z"}, "ISO 8601"),
        ({"domain": "a\0b"}, "NUL"),
        ({"key": "\0"}, "NUL"),
        ({"text": "a\0b"}, "NUL"),
        ({"model": "m" * 301}, "model"),
        ({"text": "w " * 500}, "text"),
        ({"sinse": "2026-11-20T13:00:00Z"}, "no parameter 'sinse'"),
        ({"offset": "1"}, "no parameter 'offset'"),
    ],
)
def test_what_cannot_be_meant_is_told_in_a_sentence(script: Client, query: dict[str, str], said: str) -> None:
    sentence = refusal(script, LIST, query)
    assert said in sentence
    assert sentence.endswith(".")


def test_only_reading_is_possible(script: Client) -> None:
    for path in (LIST, f"{LIST}/{new_id()}", "/token-stats", "/api/storage-stats", f"{LIST}/export"):
        for method in (script.post, script.put, script.delete):
            assert method(path).status_code == 405


def test_the_documentation_needs_no_other_site(script: Client) -> None:
    page = script.get("/api/docs").content.decode()
    assert "/static/ninja/swagger-ui-bundle.js" in page
    assert "https://" not in page
    for path in ("swagger-ui-bundle.js", "swagger-ui.css"):
        file = script.get(f"/static/ninja/{path}")
        assert file.status_code == 200
        file.close()


def test_the_schema_names_endpoints_and_the_key(script: Client) -> None:
    schema = json.loads(script.get("/api/openapi.json").content)
    assert {"/api/requests", "/api/requests/{name}", "/token-stats"} <= schema["paths"].keys()
    (scheme,) = schema["components"]["securitySchemes"].values()
    assert (scheme["name"], scheme["in"]) == ("X-Dashboard-Key", "header")


def test_the_door_names_the_endpoints(client: Client) -> None:
    endpoints = client.get("/").json()["endpoints"]
    assert endpoints["stats"] == "/token-stats"
    for path in ("requests", "storage", "stats", "docs"):
        assert client.get(endpoints[path]).status_code == 401
