"""The query API: one request, with what was said."""

import base64
import json
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.ids import new_id
from accounts.models import Domain
from telemetry.models import BodyRow
from telemetry.record import bodies
from telemetry.record.bodies import PIECES
from tests.dashboard.asking import LIST, get
from tests.streams import STREAMS
from tests.telemetry.facts import stored_exchange

pytestmark = pytest.mark.django_db(transaction=True)


def test_one_request_is_shown_whole(script: Client, domain: Domain) -> None:
    row = stored_exchange(b'{"model":"m"}', b'{"type":"message"}', domain_id=domain.id, is_stream=False)
    for name in (row.id, row.id.hex, "req_01test"):
        answer = get(script, f"{LIST}/{name}")
        shown = answer["request"]
        assert (answer["status"], shown["id"], shown["domain"]) == ("ok", str(row.id), "claude.example.com")
        assert (shown["request_body"], shown["response_body"]) == ('{"model":"m"}', '{"type":"message"}')
        assert shown["request_body_encoding"] == shown["response_body_encoding"] == "utf-8"
        assert shown["request_headers"] == [["content-type", "application/json"]]
        assert shown["usage"] == {"input_tokens": 10}
        assert shown["response_message"] is shown["bodies_note"] is shown["request_body_note"] is None
        assert shown["request_is_whole"] is True


def test_a_stream_is_shown_as_its_message_too(script: Client) -> None:
    row = stored_exchange(b"{}", STREAMS["text"])
    shown = get(script, f"{LIST}/{row.id}")["request"]
    assert shown["response_body"].encode() == STREAMS["text"]
    assert shown["response_message"]["type"] == "message"
    assert shown["response_message"]["stop_reason"] == "end_turn"


def test_a_body_in_pieces_is_put_together(script: Client, domain: Domain) -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "long " * 100}] * 3}).encode()
    rows = [stored_exchange(body, domain_id=domain.id) for _ in range(2)]
    assert [get(script, f"{LIST}/{row.id}")["request"]["request_body"].encode() for row in rows] == [body, body]


def test_what_is_not_text_comes_in_base64(script: Client) -> None:
    row = stored_exchange(b"\xff\x00", b"a\x00b")
    shown = get(script, f"{LIST}/{row.id}")["request"]
    assert shown["request_body_encoding"] == "base64"
    assert base64.b64decode(shown["request_body"]) == b"\xff\x00"
    assert (shown["response_body"], shown["response_body_encoding"]) == ("a\0b", "utf-8")


def test_a_missing_piece_is_told_in_a_sentence(script: Client) -> None:
    row = stored_exchange(b"{}", b"answer")
    gone = bodies.compress(b"\x93\xc4\x01[\xc4\x10" + b"\x07" * 16 + b"\xc4\x01]")  # msgpack: literal, id, literal
    BodyRow.objects.filter(exchange_id=row.id).update(codec=PIECES, request=gone)
    shown = get(script, f"{LIST}/{row.id}")["request"]
    assert shown["request_body"] is None
    assert "is gone" in shown["request_body_note"]
    assert shown["response_body"] == "answer"


@pytest.mark.parametrize("damaged", [{"request": b"no zstd"}, {"codec": PIECES}])
def test_a_damaged_body_is_told_in_a_sentence(script: Client, damaged: dict[str, Any]) -> None:
    row = stored_exchange(b"{}", b"answer")
    BodyRow.objects.filter(exchange_id=row.id).update(**damaged)
    shown = get(script, f"{LIST}/{row.id}")["request"]
    assert "cannot be read" in shown["request_body_note"]
    assert shown["response_body"] == "answer"


def test_bodies_that_were_not_kept_are_absent_with_a_reason(script: Client) -> None:
    row = stored_exchange()
    BodyRow.objects.all().delete()
    shown = get(script, f"{LIST}/{row.id}")["request"]
    assert "not kept" in shown["bodies_note"]
    assert "request_body" not in shown


def test_a_redacted_copy_says_so(script: Client) -> None:
    row = stored_exchange()
    BodyRow.objects.update(is_redacted=True)
    assert "redacted" in get(script, f"{LIST}/{row.id}")["request"]["bodies_note"]


def test_an_answer_too_deep_to_be_rebuilt_is_shown_as_it_came(script: Client) -> None:
    deep = b'event: message_start\ndata: {"type":"message_start","message":' + b'{"a":' * 900 + b"1" + b"}" * 900
    row = stored_exchange(b"[" * 5000, deep + b"}\n\n", usage="[" * 5000)
    assert get(script, f"{LIST}/{row.id}")["request"]["request_body"] == "[" * 5000


@pytest.mark.parametrize("name", [str(new_id()), "req_unknown", "a%00b", "x" * 200, "%20", "%FF", "{}"])
def test_an_unknown_request_is_not_found(script: Client, name: str) -> None:
    response = script.get(f"{LIST}/{name}")
    assert (response.status_code, response.json()) == (404, {"error": "Request not found"})


def test_an_empty_upstream_id_finds_nothing(script: Client) -> None:
    stored_exchange(upstream_request_id="")
    assert script.get(f"{LIST}/").status_code == 404


def test_one_request_costs_what_it_says(script: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    row = stored_exchange()
    with django_assert_num_queries(2):  # the row with its bodies, and the domain's name
        get(script, f"{LIST}/{row.id}")
