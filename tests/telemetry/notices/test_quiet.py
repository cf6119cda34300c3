from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from accounts.ids import new_id
from accounts.models import Domain
from telemetry.models import Delivery, SlackSettings, Webhook
from telemetry.models.notices import State
from telemetry.notices.notice import Notice, NoticeKind
from telemetry.notices.outbox import enter
from telemetry.notices.quiet import quiet_until, tell_held
from telemetry.notices.routes import SlackChoice
from telemetry.notices.sending import Pace, Sending
from tests.telemetry.notices.slackserver import SlackServer
from tests.telemetry.notices.told import configure, notice

BERLIN = "Europe/Berlin"


def choice(begin: str | None, end: str | None, zone: str = "UTC") -> SlackChoice:
    first, last = (time.fromisoformat(text) if text else None for text in (begin, end))
    return SlackChoice(None, first, last, zone)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("quiet", "now", "until"),
    [
        (choice(None, None), "2026-11-23 03:00", None),
        (choice("08:00", "08:00"), "2026-11-23 08:00", None),
        (choice("12:00", "13:00"), "2026-11-23 11:59", None),
        (choice("12:00", "13:00"), "2026-11-23 12:00", "2026-11-23 13:00"),
        (choice("12:00", "13:00"), "2026-11-23 13:00", None),
        # Over midnight.
        (choice("22:00", "07:00"), "2026-11-23 23:30", "2026-11-24 07:00"),
        (choice("22:00", "07:00"), "2026-11-24 06:59", "2026-11-24 07:00"),
        (choice("22:00", "07:00"), "2026-11-24 07:00", None),
        (choice("22:00", "07:00"), "2026-11-24 21:59", None),
        # Where people live.
        (choice("22:00", "07:00", BERLIN), "2026-11-23 21:30", "2026-11-24 06:00"),
        (choice("22:00", "07:00", "America/Los_Angeles"), "2026-11-23 21:30", None),
        (choice("22:00", "07:00", "Asia/Kolkata"), "2026-11-23 16:30", "2026-11-24 01:30"),
        # 2026-03-29: 02:00 is 03:00 in Berlin. The night is an hour shorter.
        (choice("22:00", "07:00", BERLIN), "2026-03-28 21:30", "2026-03-29 05:00"),
        (choice("22:00", "02:30", BERLIN), "2026-03-28 23:00", "2026-03-29 01:30"),
        (choice("02:30", "07:00", BERLIN), "2026-03-29 01:15", None),
        (choice("02:30", "07:00", BERLIN), "2026-03-29 01:30", "2026-03-29 05:00"),
        # 2026-10-25: 03:00 is 02:00 in Berlin. The night is an hour longer, and 02:30 is there twice.
        (choice("22:00", "07:00", BERLIN), "2026-10-25 05:30", "2026-10-25 06:00"),
        (choice("22:00", "02:30", BERLIN), "2026-10-25 00:15", "2026-10-25 00:30"),
        (choice("22:00", "02:30", BERLIN), "2026-10-25 01:15", None),
        (choice("02:30", "07:00", BERLIN), "2026-10-25 00:30", "2026-10-25 06:00"),
        (choice("02:30", "07:00", BERLIN), "2026-10-25 01:15", "2026-10-25 06:00"),
    ],
)
def test_quiet_hours(quiet: SlackChoice, now: str, until: str | None) -> None:
    assert quiet_until(quiet, utc(now)) == (utc(until) if until else None)


@given(
    st.times(),
    st.times(),
    st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),
)
def test_quiet_hours_end_within_a_day_and_at_their_time(begin: time, end: time, zone: str, now: datetime) -> None:
    begin, end = begin.replace(fold=0), end.replace(fold=0)
    until = quiet_until(SlackChoice(None, begin, end, zone), now)
    if until is None:
        return
    assert now < until <= now + timedelta(hours=25, minutes=30)
    local = until.astimezone(ZoneInfo(zone))
    there = datetime.combine(local.date(), end, ZoneInfo(zone))
    is_there = there.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == there.replace(tzinfo=None)
    assert local.time() == end or not is_there


# --- What is held ---------------------------------------------------------------------------------------------------


@pytest.fixture
def night(db: None, slack_server: SlackServer, settings: Settings) -> SlackSettings:
    """From an hour ago to two hours from now."""
    configure(settings, webhook_url=slack_server.url)
    now = timezone.now()
    hours = {"quiet_from": (now - timedelta(hours=1)).time(), "quiet_until": (now + timedelta(hours=2)).time()}
    return SlackSettings.objects.create(**hours)


def states(**of: Any) -> list[str]:
    return list(Delivery.objects.filter(**of).order_by("position").values_list("state", flat=True))


def send(now: datetime) -> None:
    Sending(Pace(message_seconds=0, wait_seconds=0), lambda: now).run()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, State.HELD),
        ({"kind": NoticeKind.ERROR}, State.HELD),
        ({"is_urgent": True}, State.PENDING),
        ({"kind": NoticeKind.DIGEST}, State.PENDING),
        ({"kind": NoticeKind.TEST}, State.PENDING),
        ({"kind": NoticeKind.CONVERSATION, "exchange_id": new_id()}, State.PENDING),
    ],
)
def test_what_may_wait_is_held(night: SlackSettings, changes: dict[str, Any], state: State) -> None:
    enter([notice(**changes)])
    assert states() == [state]


@pytest.mark.django_db(transaction=True)
def test_programs_are_told_at_once(night: SlackSettings) -> None:
    hook = Webhook.objects.create(name="pager", url="https://pager.example.com/in", secret="fake-secret")
    enter([notice()])
    assert states(sink=str(hook.id)) == [State.PENDING]
    assert states(sink="slack") == [State.HELD]


@pytest.mark.django_db(transaction=True)
def test_what_was_held_is_told_in_one_message(
    night: SlackSettings, slack_server: SlackServer, domain: Domain, other_domain: Domain
) -> None:
    incident = new_id()
    told = [
        notice(title="Opened", thread=incident),
        notice(title="Error", kind=NoticeKind.ERROR, domain_id=domain.id),
        notice(title="Other", domain_id=other_domain.id, text="word " * 100),
        notice(title="Resolved: Opened", thread=incident),
    ]
    enter(told[:2])
    enter(told[2:])
    send(timezone.now())
    assert tell_held(timezone.now()) == 0
    morning = timezone.now() + timedelta(hours=2)
    assert tell_held(morning) == 1
    assert tell_held(morning) == 0
    send(morning)
    (message,) = slack_server.taken
    assert message.words == "While it was quiet: 4 notices"
    text = message.message["attachments"][0]["text"]
    assert [line.split("*")[1] for line in text.splitlines()] == ["Error", "Other", "Resolved: Opened"]
    assert sorted(states()) == [State.DELIVERED, State.GATHERED, State.GATHERED, State.GATHERED]


@pytest.mark.django_db(transaction=True)
def test_one_alone_is_told_as_it_is(night: SlackSettings, slack_server: SlackServer) -> None:
    one = notice(thread=new_id())
    enter([one])
    morning = timezone.now() + timedelta(hours=2)
    tell_held(morning)
    send(morning)
    assert slack_server.words == [one.title]
    assert Delivery.objects.get().thread == one.thread


@pytest.mark.django_db(transaction=True)
def test_each_place_has_its_own_message(night: SlackSettings, slack_server: SlackServer, domain: Domain) -> None:
    SlackSettings.objects.create(domain=domain, webhook_url=slack_server.url + "/other")
    enter([notice(), notice(), notice(domain_id=domain.id), notice(domain_id=domain.id)])
    morning = timezone.now() + timedelta(hours=2)
    assert tell_held(morning) == 2
    send(morning)
    assert len(slack_server.taken) == 2


@pytest.mark.django_db(transaction=True)
def test_a_long_night_is_cut(night: SlackSettings) -> None:
    enter(notice(title=str(number)) for number in range(100))
    tell_held(timezone.now() + timedelta(hours=2))
    told = msgspec.json.decode(Delivery.objects.get(state=State.PENDING).payload, type=Notice)
    lines = told.text.splitlines()
    assert (told.title, len(lines), lines[0]) == (
        "While it was quiet: 100 notices",
        31,
        "70 earlier ones are in the admin.",
    )
