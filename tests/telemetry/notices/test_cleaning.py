from datetime import UTC, datetime, timedelta

import pytest
from pytest_django import Settings

from telemetry.models import BodyRow, Delivery, LastSaid, Target
from telemetry.models.notices import State
from telemetry.notices import cleaning
from telemetry.notices.cleaning import clean_notices
from telemetry.notices.notice import NoticeKind
from telemetry.notices.outbox import enter
from tests.telemetry.facts import stored_exchange
from tests.telemetry.notices.told import FAKE_WEBHOOK, configure, notice

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _slack(settings: Settings) -> None:
    configure(settings, webhook_url=FAKE_WEBHOOK)


def test_a_delivery_is_kept_for_a_month_and_one_that_waits_for_ever() -> None:
    now = datetime.now(UTC)
    enter([notice(), notice(), notice()])
    old, young, _ = Delivery.objects.order_by("position")
    Delivery.objects.filter(id=old.id).update(state=State.DELIVERED, settled_at=now - timedelta(days=31))
    Delivery.objects.filter(id=young.id).update(state=State.DELIVERED, settled_at=now - timedelta(days=29))
    assert clean_notices(now) == 1
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered", "pending"}


def test_words_do_not_outlive_the_body_that_they_came_from() -> None:
    kept, gone = stored_exchange(), stored_exchange()
    enter([notice(kind=NoticeKind.CONVERSATION, exchange_id=each.id) for each in (kept, gone)])
    Delivery.objects.update(state=State.UNCONFIRMED, settled_at=datetime.now(UTC))
    BodyRow.objects.filter(exchange_id=gone.id).delete()
    clean_notices()
    assert Delivery.objects.get(exchange_id=kept.id).payload
    assert not Delivery.objects.get(exchange_id=gone.id).payload


def test_what_was_last_said_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "LAST_SAID_MAX", 2)
    now = datetime.now(UTC)
    for age in range(4):
        LastSaid.objects.create(id=str(age), text_hash="", updated_at=now - timedelta(days=age))
    clean_notices(now)
    assert set(LastSaid.objects.values_list("id", flat=True)) == {"0", "1"}


def test_a_target_that_fails_is_not_forgotten() -> None:
    long_ago = datetime.now(UTC) - timedelta(days=31)
    Target.objects.create(id="a", label="a", free_at=long_ago)
    Target.objects.create(id="b", label="b", free_at=long_ago, failing_since=long_ago)
    clean_notices()
    assert Target.objects.get().id == "b"
