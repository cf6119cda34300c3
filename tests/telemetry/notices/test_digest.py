import threading
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from django.db import connection
from pytest_django import Settings

from accounts.ids import first_id_at, new_id
from accounts.models import ClientKey, Domain
from telemetry.models import Delivery, DigestSent, Severity, SlackSettings, Webhook
from telemetry.money.rollups import roll_up
from telemetry.notices.day import day_of
from telemetry.notices.digest import send_digests
from telemetry.notices.incidents import evaluate
from telemetry.notices.notice import Notice, NoticeKind
from telemetry.record.exchange import Outcome, Pricing
from tests.telemetry.facts import stored_exchange
from tests.telemetry.notices.incidents import Scripted, finding
from tests.telemetry.notices.told import FAKE_WEBHOOK, configure

pytestmark = pytest.mark.django_db(transaction=True)
MORNING = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def slack(settings: Settings) -> None:
    configure(settings, webhook_url=FAKE_WEBHOOK)


@pytest.fixture
def at_nine(db: None) -> SlackSettings:
    return SlackSettings.objects.create(digest_at=time(9))


def put(moment: datetime, **changes: Any) -> None:
    """Summed, as it will be by then."""
    own_id = type(new_id())(int=first_id_at(moment).int | new_id().int & 0xFFFF_FFFF_FFFF)
    values: dict[str, Any] = {"id": own_id, "started_at": moment, "pricing": Pricing.PRICED, "cost": Decimal("0.5")}
    stored_exchange(**values | changes)
    roll_up(at_once=True)


def digests() -> list[Notice]:
    payloads = Delivery.objects.filter(kind=NoticeKind.DIGEST).order_by("position").values_list("payload", flat=True)
    return [msgspec.json.decode(payload, type=Notice) for payload in payloads]


def test_yesterday_in_figures(at_nine: SlackSettings, issued: tuple[ClientKey, str], other_domain: Domain) -> None:
    key, secret = issued
    of = {"domain_id": key.domain_id, "client_key_id": key.id}
    yesterday = MORNING - timedelta(days=1)
    put(yesterday, **of)
    put(yesterday, **of, outcome=Outcome.API_ERROR, status=529, cost=Decimal(0))
    put(yesterday, **of, outcome=Outcome.CANCELLED, cost=Decimal(0))
    put(yesterday.replace(hour=23), domain_id=other_domain.id, pricing=Pricing.UNPRICED, cost=None, model="<b>")
    put(yesterday - timedelta(days=1), **of, cost=Decimal(1000))
    put(MORNING.replace(hour=0), **of, cost=Decimal(1000))
    assert send_digests(MORNING) == 1
    (digest,) = digests()
    assert digest.title == "Monday, November 23: all domains"
    lines = digest.text.splitlines()
    assert lines[0] == "4 requests, 66.7% well; 520 tokens in and 80 out; $0.50; 1 without a price, so it cost more."
    assert f"• {key}: $0.50, 3 requests" in lines
    domains = ["• claude.example.com: $0.50, 3 requests", "• other.example.com: $0.00, 1 requests"]
    assert lines[-4:] == ["*Domains*", *domains, "Nothing is wrong."]
    assert digest.facts["cost_usd"] == "0.500000"
    assert secret not in digest.text


def test_a_day_without_requests(at_nine: SlackSettings) -> None:
    send_digests(MORNING)
    assert digests()[0].text == "No requests.\nNothing is wrong."


def test_it_says_what_is_wrong(at_nine: SlackSettings, domain: Domain) -> None:
    evaluate([Scripted([finding(), finding(object="<x>", sentence="<x>", severity=Severity.CRITICAL)])], MORNING)
    send_digests(MORNING)
    (digest,) = digests()
    assert digest.color == "danger"
    assert digest.text.splitlines()[-3:] == [
        "*Open incidents: 2*",
        "• critical: &lt;x&gt;",
        f"• warning: {finding().sentence}",
    ]


def test_a_domain_out_of_slack_is_in_the_sums_and_not_named(at_nine: SlackSettings) -> None:
    personal = Domain.objects.create(host="personal.example.com")
    key, _ = ClientKey.issue(personal, "Grace's own")
    put(MORNING - timedelta(days=1), domain_id=personal.id, client_key_id=key.id)
    send_digests(MORNING)
    (digest,) = digests()
    assert digest.facts["requests"] == 1
    assert "personal" not in digest.text
    assert "Grace" not in digest.text


def test_what_is_wrong_in_a_domain_out_of_slack_counts_and_is_not_told(at_nine: SlackSettings) -> None:
    personal = Domain.objects.create(host="personal.example.com")
    evaluate([Scripted([finding(domain_id=personal.id, sentence="Grace's own key is refused.")])], MORNING)
    send_digests(MORNING)
    (digest,) = digests()
    assert "*Open incidents: 1*" in digest.text
    assert "Grace" not in digest.text


def test_costs_are_summed_to_their_last_place(at_nine: SlackSettings) -> None:
    """As floats they would not be."""
    for hour in (1, 2):
        put(MORNING - timedelta(hours=10 + hour), cost=Decimal("90000.0000000001"))
    found = day_of(None, MORNING - timedelta(days=1), MORNING, [])
    assert found.figures.cost == Decimal("180000.0000000002")


@pytest.mark.parametrize(
    ("hours", "count"), [(-0.1, 0), (0, 1), (5.9, 1), (6.1, 0)], ids=["too early", "in time", "late", "too late"]
)
def test_it_comes_at_its_time_or_up_to_six_hours_late(at_nine: SlackSettings, hours: float, count: int) -> None:
    assert send_digests(MORNING + timedelta(hours=hours)) == count


def test_it_comes_once_a_day(at_nine: SlackSettings) -> None:
    for minutes in range(0, 3 * 24 * 60, 10):
        send_digests(MORNING + timedelta(minutes=minutes))
    assert [digest.facts["day"] for digest in digests()] == ["2026-11-23", "2026-11-24", "2026-11-25"]
    Delivery.objects.all().delete()  # as they are forgotten some day
    assert send_digests(MORNING + timedelta(days=2)) == 0


def test_one_of_late_evening_is_told_after_midnight(at_nine: SlackSettings) -> None:
    SlackSettings.objects.update(digest_at=time(23, 30))
    assert send_digests(datetime(2026, 11, 25, 2, tzinfo=UTC)) == 1
    assert digests()[0].facts["day"] == "2026-11-23"


@pytest.mark.parametrize(
    ("day", "first", "last"),
    [
        ((2026, 11, 23), "2026-11-22 23:00", "2026-11-23 22:00"),
        ((2026, 3, 29), "2026-03-28 23:00", "2026-03-29 21:00"),  # 23 hours
        ((2026, 10, 25), "2026-10-24 22:00", "2026-10-25 22:00"),  # 25 hours
    ],
)
def test_a_day_is_as_long_as_where_people_live(
    at_nine: SlackSettings, day: tuple[int, int, int], first: str, last: str
) -> None:
    SlackSettings.objects.update(time_zone="Europe/Berlin")
    begin, end = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (first, last))
    for moment in (begin - timedelta(hours=1), begin, end, end + timedelta(hours=1)):
        put(moment)
    send_digests(datetime(*day, 9, tzinfo=UTC) + timedelta(days=1))
    (digest,) = digests()
    assert digest.facts["requests"] == 2


def test_a_domain_has_one_of_its_own_if_it_says_when(
    at_nine: SlackSettings, domain: Domain, other_domain: Domain
) -> None:
    SlackSettings.objects.create(domain=domain, digest_at=time(8))
    SlackSettings.objects.create(domain=other_domain)
    for each in (domain, domain, other_domain):
        put(MORNING - timedelta(days=1), domain_id=each.id)
    assert send_digests(MORNING) == 2
    assert {digest.domain_id: digest.facts["requests"] for digest in digests()} == {None: 3, domain.id: 2}


def test_nobody_listens(at_nine: SlackSettings, settings: Settings) -> None:
    configure(settings)
    assert send_digests(MORNING) == 0
    Webhook.objects.create(name="pager", url="https://pager.example.com/in", secret="fake-secret")
    assert send_digests(MORNING + timedelta(minutes=5)) == 1


def test_it_waits_a_little_for_hours_that_are_not_summed(at_nine: SlackSettings) -> None:
    moment = MORNING - timedelta(hours=20)
    stored_exchange(id=type(new_id())(int=first_id_at(moment).int), started_at=moment)
    assert send_digests(MORNING) == 0
    assert send_digests(MORNING + timedelta(minutes=11)) == 1


def test_workers_at_once_tell_it_once(at_nine: SlackSettings) -> None:
    together = threading.Barrier(4)
    counts: list[int] = []

    def work() -> None:
        try:
            together.wait(30)
            counts.append(send_digests(MORNING))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(counts) == [0, 0, 0, 1]
    assert (len(digests()), DigestSent.objects.count()) == (1, 1)
