"""How exchanges are laid out for the database: pieces once, redacted where their domain wants it, previews."""

import json
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.ids import new_id
from accounts.privacy import Storage
from telemetry.models import BodyRow, ExchangeRow, PieceRow
from telemetry.record.exchange import Bodies, Closed
from telemetry.record.message import message_from_stream
from telemetry.record.pieces import MissingPiece
from telemetry.record.preview import first_text
from telemetry.record.redaction import Redactor
from telemetry.record.shelf import Policy, Shelf
from telemetry.record.store import Store, store
from tests.streams import STREAMS
from tests.telemetry.facts import closed, exchange

pytestmark = pytest.mark.django_db(transaction=True)
FAKE_KEY = "sk-ant-api03-fake-planted-canary-0123456789abcdef"
DOMAIN = new_id()


def message(text: str, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}


def body(*messages: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({"model": "m", "max_tokens": 5, "messages": messages} | fields).encode()


def row_of(one: Closed) -> ExchangeRow:
    return ExchangeRow.objects.get(id=one.exchange.id)


def test_a_conversation_stores_each_message_once_and_comes_back_whole() -> None:
    history = [message(f"turn {number} " + "x" * 400) for number in range(12)]
    turns = [closed(body(*history[:count], system="s" * 500), domain_id=DOMAIN) for count in range(1, 13)]
    assert store(turns) == 12
    assert PieceRow.objects.count() == 13
    assert [row_of(one).request_body() for one in turns] == [one.bodies.request for one in turns if one.bodies]


def test_another_domain_shares_nothing() -> None:
    request = body(message("x" * 400))
    one, other = closed(request, domain_id=new_id()), closed(request, domain_id=new_id())
    store([one, other])
    assert PieceRow.objects.count() == 2
    assert len(set(PieceRow.objects.values_list("domain_id", flat=True))) == 2


def test_what_is_known_to_be_stored_asks_the_database_for_nothing() -> None:
    keep = Store(Shelf())
    keep([closed(body(message("x" * 400)), domain_id=DOMAIN)])
    with CaptureQueriesContext(connection) as queries:
        keep([closed(body(message("x" * 400), message("y" * 20)), domain_id=DOMAIN)])
    assert not [query for query in queries if "telemetry_piece" in query["sql"]]
    with CaptureQueriesContext(connection) as queries:
        Store(Shelf())([closed(body(message("x" * 400)), domain_id=DOMAIN)])
    assert [query["sql"].split()[0] for query in queries if "telemetry_piece" in query["sql"]] == ["SELECT"]


def test_use_moves_the_day_of_a_piece_and_a_freed_one_is_stored_again() -> None:
    keep = Store(Shelf())
    request = body(message("x" * 400))
    keep([closed(request, domain_id=DOMAIN)])
    PieceRow.objects.update(last_used_on=date(2020, 1, 1))
    Store(Shelf())([closed(request, domain_id=DOMAIN)])
    assert PieceRow.objects.get().last_used_on > date(2020, 1, 1)
    PieceRow.objects.all().delete()
    keep._pieces._day = date(2020, 1, 1)  # what was known yesterday is not known today
    keep([one := closed(request, domain_id=DOMAIN)])
    assert row_of(one).request_body() == request


def test_a_batch_that_failed_is_stored_by_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Store(Shelf())
    one = closed(body(message("x" * 400)), domain_id=DOMAIN)
    with monkeypatch.context() as broken:
        broken.setattr("telemetry.record.store.insert", _away)
        with pytest.raises(ConnectionError):
            keep([one])
    assert keep([one]).total == 1
    assert row_of(one).request_body() == (one.bodies and one.bodies.request)


def _away(*args: Any) -> int:
    raise ConnectionError


def test_a_body_whose_piece_is_gone_says_so() -> None:
    store([one := closed(body(message("x" * 400)), domain_id=DOMAIN)])
    PieceRow.objects.all().delete()
    with pytest.raises(MissingPiece):
        row_of(one).request_body()


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=300) | st.builds(lambda text: body(message(text)), st.text(min_size=130, max_size=300)))
def test_any_body_comes_back_from_the_database(request: bytes) -> None:
    store([one := closed(request, b"answer", domain_id=DOMAIN)])
    assert (row_of(one).request_body(), row_of(one).response_body()) == (request, b"answer")


# --- Redaction of the stored copy -------------------------------------------------------------------------------


def redacting(*patterns: str) -> Store:
    redactor = Redactor(patterns)
    return Store(Shelf(lambda domain_id: Policy(Storage.REDACTED, redactor)))


def everything_stored() -> str:
    rows: list[Any] = [*ExchangeRow.objects.values(), *BodyRow.objects.values()]
    rows += [{"request": row.request_body(), "response": row.response_body()} for row in ExchangeRow.objects.all()]
    return repr(rows)


def test_a_redacted_domain_leaves_no_secret_in_any_column() -> None:
    request = body(
        message(f"my key is {FAKE_KEY}, " + "x" * 300), message(f"short {FAKE_KEY}"), metadata={"user_id": FAKE_KEY}
    )
    response = STREAMS["text"].replace(b"Hello", FAKE_KEY.encode())
    one = closed(
        request,
        response,
        domain_id=DOMAIN,
        query=f"token={FAKE_KEY}",
        user_agent=FAKE_KEY,
        error_message=f"bad {FAKE_KEY}",
    )
    assert FAKE_KEY.encode() in response
    keep = redacting()
    keep([one])
    keep([closed(request, response, domain_id=DOMAIN)])
    assert FAKE_KEY not in everything_stored()
    assert BodyRow.objects.filter(is_redacted=True).count() == 2
    stored = json.loads(row_of(one).request_body() or b"")
    assert stored["messages"][0]["content"][0]["text"].endswith("x" * 300)
    assert row_of(one).request_preview.startswith("short [redacted")


def test_one_that_was_asked_under_redaction_stays_redacted_when_the_domain_changes_its_mind() -> None:
    one = closed(body(message(FAKE_KEY)), domain_id=DOMAIN)
    assert one.bodies is not None
    kept = Bodies(**{name: getattr(one.bodies, name) for name in Bodies.__struct_fields__} | {"redact": True})
    store([Closed(one.exchange, kept)])
    assert FAKE_KEY not in everything_stored()


def test_a_new_pattern_holds_for_messages_that_were_seen_before() -> None:
    request = body(message("project Bluebird " + "x" * 300))
    current = [Policy(Storage.REDACTED, Redactor())]
    keep = Store(Shelf(lambda domain_id: current[0]))
    keep([closed(request, domain_id=DOMAIN)])
    current[0] = Policy(Storage.REDACTED, Redactor(("Bluebird",)))
    keep([one := closed(request, domain_id=DOMAIN)])
    assert b"Bluebird" not in (row_of(one).request_body() or b"")


def test_a_pattern_that_takes_too_long_costs_its_domain_the_bodies_and_the_record_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keep = redacting(r"(x+x+)+y")
    evil = [closed(body(message("x" * 5000)), domain_id=DOMAIN) for _ in range(20)]
    assert keep(evil).total == 20
    assert BodyRow.objects.count() == 0
    assert caplog.text.count("redaction is too slow") == 1


def test_binary_bodies_of_a_redacted_domain_are_not_kept() -> None:
    redacting()([closed(b"\xff\xfe\x00binary", domain_id=DOMAIN)])
    assert ExchangeRow.objects.count() == 1
    assert BodyRow.objects.count() == 0


@pytest.mark.parametrize("level", [Storage.METADATA, Storage.NONE])
def test_a_domain_that_became_stricter_gets_nothing_of_what_waits(level: Storage) -> None:
    one = closed(body(message("my diary")), b"dear me", domain_id=DOMAIN, query="q=diary", error_message="diary")
    Store(Shelf(lambda domain_id: Policy(level)))([one])
    row = row_of(one)
    assert "diary" not in repr([row.query, row.error_message, row.request_preview])
    assert BodyRow.objects.count() == PieceRow.objects.count() == 0
    assert bool(row.session_id and row.client_address) == (level is Storage.METADATA)


def test_marks_that_are_longer_than_what_they_stand_for_fit_their_column() -> None:
    one = closed(b"{}", domain_id=DOMAIN, query="?to=a@b.co," * 45, error_message="a@b.co " * 70)
    assert redacting()([one]).left_out == 0
    assert "a@b.co" not in row_of(one).query + row_of(one).error_message


def test_a_policy_or_a_body_that_fails_costs_one_exchange_its_words_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemetry.record.pieces.parts_of", _away)
    assert store([one := closed(body(message("x")), domain_id=DOMAIN), closed(domain_id=DOMAIN)]) == 2
    assert row_of(one).request_body() is None


# --- Previews -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_body", "response_body", "previews"),
    [
        (
            body(message("Hello  there\n friend")),
            b'{"content":[{"type":"text","text":"Hi"}]}',
            ("Hello there friend", "Hi"),
        ),
        (body({"role": "user", "content": "plain"}), b"", ("plain", "")),
        (body(message("first"), message("answer", "assistant"), message("second")), b"", ("second", "")),
        (body(message("real"), message("<system-reminder>noise</system-reminder>")), b"", ("real", "")),
        (
            body(message("ask"), {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}),
            b'{"content":[{"type":"tool_use","name":"Read","input":{}}]}',
            ("ask", "[Read]"),
        ),
        (b"not json", b"not an answer", ("", "")),
        (b'{"messages":"none"}', b'{"content":3}', ("", "")),
        (b'{"messages":[1,{"role":"user"},{"role":"user","content":[7]}]}', b'{"type":"error"}', ("", "")),
        (body(message("a\0b")), b"[]", ("ab", "")),
        (body(message("half a surrogate pair \ud83d")), b"", ("", "")),
        (body(message("w" * 5000)), b"", ("w" * 200, "")),
    ],
)
def test_previews_are_the_first_words(request_body: bytes, response_body: bytes, previews: tuple[str, str]) -> None:
    store([one := closed(request_body, response_body, domain_id=DOMAIN)])
    assert (row_of(one).request_preview, row_of(one).response_preview) == previews


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_the_preview_of_a_stream_is_its_first_text(name: str) -> None:
    store([one := closed(b"{}", STREAMS[name], domain_id=DOMAIN)])
    whole = message_from_stream(STREAMS[name]) or {"content": []}
    assert row_of(one).response_preview.startswith(first_text(whole["content"]))
    assert len(row_of(one).response_preview) <= 200


def test_an_exchange_without_a_domain_keeps_no_bodies() -> None:
    store([closed(body(message("hello")), domain_id=None)])
    assert BodyRow.objects.count() == 0


def test_ids_of_pieces_are_hashes_of_their_bytes() -> None:
    store([closed(body(message("x" * 400)), domain_id=DOMAIN)])
    (row,) = PieceRow.objects.all()
    assert isinstance(row.id, UUID)
    assert row.size_bytes > row.stored_bytes > 0
    assert exchange().id != row.id
