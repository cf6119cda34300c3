"""From stored exchanges to notices: what was said, and what went wrong."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import Settings

from accounts.models import ClientKey, Domain
from accounts.privacy import Storage
from telemetry.models import BodyRow, Candidate, Delivery, LastSaid, SlackSettings
from telemetry.notices.compose import compose
from telemetry.record.exchange import Exchange, Outcome, Pricing
from telemetry.record.policies import _redactor
from telemetry.record.shelf import Policy, Shelf
from telemetry.record.store import Store
from telemetry.record.store import store as store_batch
from tests.telemetry.facts import closed
from tests.telemetry.notices.told import FAKE_WEBHOOK, configure

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _slack(settings: Settings) -> None:
    configure(settings, webhook_url=FAKE_WEBHOOK)


def asked(text: str) -> bytes:
    return json.dumps({"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": text}]}).encode()


def answered(text: str = "", *tools: str) -> bytes:
    content: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    content += [{"type": "tool_use", "id": "t", "name": name, "input": {}} for name in tools]
    return json.dumps({"type": "message", "content": content}).encode()


def told(request: bytes, response: bytes, **changes: Any) -> Exchange:
    """One exchange, stored and composed."""
    one = closed(request, response, **changes)
    store_batch([one])
    compose(NOW)
    return one.exchange


def failed(now: datetime = NOW, **changes: Any) -> Exchange:
    values: dict[str, Any] = {"outcome": Outcome.API_ERROR, "status": 529, "error_type": "overloaded_error"} | changes
    one = closed(error_message="The API is <overloaded>.", **values)
    store_batch([one])
    compose(now)
    return one.exchange


def notices() -> list[dict[str, Any]]:
    return [json.loads(payload) for payload in Delivery.objects.order_by("id").values_list("payload", flat=True)]


def texts() -> list[str]:
    return [each["text"] for each in notices()]


def test_the_first_message_shows_who_and_what(issued: tuple[ClientKey, str]) -> None:
    key, _ = issued
    one = told(
        asked("Is 1 < 2?"),
        answered("Yes & always."),
        domain_id=key.domain_id,
        client_key_id=key.id,
        pricing=Pricing.PRICED,
        cost=Decimal("0.0123456"),
    )
    (found,) = notices()
    assert found["text"] == "👤 User: Is 1 &lt; 2?\n\n🤖 Claude: Yes &amp; always."
    assert found["footer"] == (
        f"claude.example.com | claude-haiku-4-5 | ...{key.last4} | Tokens: 130/20 | Cost: $0.0123"
    )
    assert found["exchange_id"] == str(one.id)
    assert not Candidate.objects.exists()


def test_the_same_text_is_shown_once_in_a_conversation(domain: Domain) -> None:
    told(asked("Fix it."), answered("I look."), domain_id=domain.id)
    told(asked("Fix it."), answered("Done."), domain_id=domain.id)
    told(asked("Thanks."), answered("Any time."), domain_id=domain.id)
    assert texts() == [
        "👤 User: Fix it.\n\n🤖 Claude: I look.",
        "🤖 Claude: Done.",
        "👤 User: Thanks.\n\n🤖 Claude: Any time.",
    ]


@pytest.mark.parametrize("by", ["session", "key"])
def test_two_users_of_one_domain_do_not_disturb_each_other(domain: Domain, by: str) -> None:
    keys = [ClientKey.issue(domain, name)[0].id for name in ("Ada", "Bob")]
    for number in range(4):
        who = number % 2
        mine = {"session_id": f"session {who}"} if by == "session" else {"session_id": "", "client_key_id": keys[who]}
        told(asked(f"from {who}"), answered("Yes."), domain_id=domain.id, **mine)
    assert [each.startswith("👤") for each in texts()] == [True, True, False, False]


def test_an_answer_of_tools_alone_is_their_lines_and_leaves_the_question_to_the_next(domain: Domain) -> None:
    told(asked("Look."), answered("", "Ping", "Pong"), domain_id=domain.id)
    told(asked("Look."), answered("Seen."), domain_id=domain.id)
    assert texts() == ["🔧 Ping\n🔧 Pong", "👤 User: Look.\n\n🤖 Claude: Seen."]


def test_what_waited_together_is_told_in_order(domain: Domain) -> None:
    batch = [closed(asked("Go."), answered(str(number)), domain_id=domain.id) for number in range(3)]
    store_batch(list(reversed(batch)))
    compose(NOW)
    assert texts() == ["👤 User: Go.\n\n🤖 Claude: 0", "🤖 Claude: 1", "🤖 Claude: 2"]
    positions = Delivery.objects.order_by("position").values_list("exchange_id", flat=True)
    assert list(positions) == [each.exchange.id for each in batch]


def test_a_batch_that_is_stored_twice_is_told_once(domain: Domain) -> None:
    batch = [closed(asked("Go."), answered("Yes."), domain_id=domain.id)]
    for _ in range(2):
        store_batch(batch)
        compose(NOW)
    assert len(notices()) == 1


@pytest.mark.parametrize("level", [Storage.METADATA, Storage.NONE])
def test_where_nothing_was_kept_nothing_is_told(domain: Domain, level: Storage) -> None:
    Store(Shelf(lambda domain_id: Policy(level)))([closed(asked("Hi."), answered("Yes."), domain_id=domain.id)])
    assert compose(NOW) == 1
    assert not notices()


def test_a_redacted_domain_is_told_from_the_redacted_copy(domain: Domain) -> None:
    policy = Policy(Storage.REDACTED, _redactor(("Blue[a-z]+",)))
    one = closed(asked("Ask grace@example.com about Bluebird."), answered("Bluebird it is."), domain_id=domain.id)
    Store(Shelf(lambda domain_id: policy))([one])
    compose(NOW)
    (found,) = texts()
    assert "Bluebird" not in found
    assert "example.com" not in found
    assert "[redacted:pattern] it is." in found


def test_bodies_that_nobody_can_read_hold_up_no_other(domain: Domain) -> None:
    odd, good = (
        closed(b"\xff", b"\xff", domain_id=domain.id),
        closed(asked("Hi."), answered("Yes."), domain_id=domain.id),
    )
    broken = closed(asked("Hi."), answered("Yes."), domain_id=domain.id)
    store_batch([broken, odd, good])
    BodyRow.objects.filter(exchange_id=broken.exchange.id).update(response=b"no zstd")
    compose(NOW)
    assert [each["exchange_id"] for each in notices()] == [str(good.exchange.id)]
    assert not Candidate.objects.exists()


def test_what_was_switched_off_meanwhile_is_not_entered(domain: Domain) -> None:
    store_batch([closed(asked("Hi."), answered("Yes."), domain_id=domain.id)])
    SlackSettings.objects.create(domain=domain, is_on=False)
    assert compose(NOW) == 1
    assert not notices()


def test_nobody_can_be_mentioned(domain: Domain) -> None:
    told(asked("<!channel> @here"), answered("<@U1> & @everyone"), domain_id=domain.id, model="<!here>")
    (found,) = notices()
    for shown in (found["text"], found["footer"]):
        assert "<" not in shown
        assert "@here" not in shown
        assert "@everyone" not in shown


def test_what_was_said_is_remembered_as_a_hash(domain: Domain) -> None:
    told(asked("canary"), answered("Yes."), domain_id=domain.id)
    assert "canary" not in str(LastSaid.objects.values())


# --- Errors ---------------------------------------------------------------------------------------------------------


def test_an_error_is_told_at_once(domain: Domain) -> None:
    one = failed(domain_id=domain.id)
    (found,) = notices()
    assert (found["title"], found["color"]) == (f"Request {one.id}", "danger")
    assert found["text"] == "The API is &lt;overloaded&gt;."
    fields = dict(found["fields"])
    assert fields["Domain"] == "claude.example.com"
    assert (fields["Type"], fields["Status"]) == ("overloaded_error", "529")
    assert fields["Time"] == f"{one.started_at:%Y-%m-%d %H:%M:%S} UTC"


def test_errors_of_one_kind_are_one_message_and_then_a_count(domain: Domain) -> None:
    for _ in range(10):
        failed(domain_id=domain.id)
    assert len(notices()) == 1
    compose(NOW + timedelta(minutes=4, seconds=59))
    assert len(notices()) == 1
    for _ in range(2):
        compose(NOW + timedelta(minutes=5))
    assert [dict(each["fields"]).get("Count") for each in notices()] == [None, "9 since the last message"]
    failed(NOW + timedelta(minutes=6), domain_id=domain.id)
    assert len(notices()) == 2, "while it lasts, one message in five minutes"
    compose(NOW + timedelta(minutes=10))
    assert len(notices()) == 3
    failed(NOW + timedelta(minutes=15), domain_id=domain.id)
    assert len(notices()) == 4, "after a silence it is told at once"


def test_errors_of_another_kind_are_told_apart(domain: Domain, other_domain: Domain) -> None:
    failed(domain_id=domain.id)
    failed(domain_id=domain.id, status=500)
    failed(domain_id=domain.id, error_type="api_error")
    failed(domain_id=other_domain.id)
    failed(domain_id=domain.id, status=None)
    assert len(notices()) == 5


def test_an_error_that_is_stored_twice_is_counted_once(domain: Domain) -> None:
    values: dict[str, Any] = {"outcome": Outcome.API_ERROR, "status": 500, "error_type": "api_error"}
    batch = [closed(domain_id=domain.id, **values) for _ in range(3)]
    for _ in range(2):
        store_batch(batch)
        compose(NOW)
    compose(NOW + timedelta(minutes=5))
    assert [dict(each["fields"]).get("Count") for each in notices()] == [None, "2 since the last message"]
