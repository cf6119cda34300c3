"""Nothing is lost, nothing is sent twice: against a server that answers as Slack does, and as a bad network does."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.ids import new_id
from accounts.models import Domain
from telemetry.models import Delivery, SlackSettings, Target, Webhook
from telemetry.models.notices import State
from telemetry.notices.notice import Notice, NoticeKind
from telemetry.notices.outbox import enter
from telemetry.notices.sending import Pace, Sending, send_again, try_again
from telemetry.tasks import send_notices
from tests.telemetry.notices.slackserver import SlackServer, slow, status, takes_and_hangs_up, too_many
from tests.telemetry.notices.told import configure, notice

pytestmark = pytest.mark.django_db(transaction=True)

QUICK = Pace(message_seconds=0, wait_seconds=0, backoff_seconds=(30,), timeout_seconds=0.5)


class Clock:
    """The time, as far as it has been turned."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def turn(self, **by: float) -> None:
        self.ahead += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _slack(slack_server: SlackServer, settings: Settings) -> None:
    configure(settings, webhook_url=slack_server.url)


def entered(count: int, **changes: Any) -> list[Notice]:
    notices = [notice(title=f"number {number}", **changes) for number in range(count)]
    enter(notices)
    return notices


def conversations(count: int) -> list[Notice]:
    """As they come: of exchanges, in their order."""
    notices = [
        notice(kind=NoticeKind.CONVERSATION, text=f"number {number}", title="", exchange_id=new_id())
        for number in range(count)
    ]
    enter(reversed(notices))
    return notices


def run(clock: Clock, pace: Pace = QUICK) -> int:
    return Sending(pace, clock).run()


def states() -> list[str]:
    return list(Delivery.objects.order_by("position").values_list("state", flat=True))


def titles(count: int) -> list[str]:
    return [f"number {number}" for number in range(count)]


def test_what_arrived_is_told_once_and_its_words_are_forgotten(slack_server: SlackServer, clock: Clock) -> None:
    entered(3)
    assert (run(clock), run(clock)) == (3, 0)
    assert slack_server.words == titles(3)
    for delivery in Delivery.objects.all():
        assert (delivery.state, delivery.payload, delivery.http_status) == (State.DELIVERED, "", 200)
        assert delivery.attempts == 1


def test_conversations_go_in_the_order_of_their_exchanges(slack_server: SlackServer, clock: Clock) -> None:
    conversations(5)
    run(clock)
    assert slack_server.words == titles(5)


def test_an_incident_does_not_wait_behind_what_was_said(slack_server: SlackServer, clock: Clock) -> None:
    conversations(2)
    entered(1)
    run(clock)
    assert slack_server.words == ["number 0", "number 0", "number 1"]
    assert slack_server.taken[0].message["attachments"][0]["title"] == "number 0"


def test_one_message_a_second_for_each_target(slack_server: SlackServer, clock: Clock) -> None:
    entered(3)
    pace = Pace(message_seconds=0.2, wait_seconds=2)
    assert run(clock, pace) == 3
    first, second, third = (each.at for each in slack_server.received)
    assert second - first >= 0.19
    assert third - second >= 0.19


def test_a_run_does_not_wait_longer_than_it_may(slack_server: SlackServer, clock: Clock) -> None:
    entered(3)
    assert run(clock, Pace(message_seconds=60)) == 1
    assert run(clock, Pace(message_seconds=60)) == 0
    clock.turn(seconds=61)
    assert run(clock, Pace(message_seconds=60)) == 1


def test_retry_after_is_honoured_by_all_workers(slack_server: SlackServer, clock: Clock) -> None:
    slack_server.script = [too_many(120)]
    entered(2)
    assert run(clock) == 1
    assert run(clock) == 0
    clock.turn(seconds=119)
    assert run(clock) == 0
    clock.turn(seconds=2)
    assert run(clock) == 2
    assert slack_server.words == titles(2)


def test_a_storm_of_429_loses_nothing(slack_server: SlackServer, clock: Clock) -> None:
    slack_server.script = [too_many(30)] * 40
    entered(3)
    for _ in range(45):
        run(clock)
        clock.turn(seconds=31)
    assert slack_server.words == titles(3)
    assert states() == ["delivered"] * 3


@pytest.mark.parametrize("code", [500, 502, 503])
def test_a_server_in_trouble_is_tried_again_later_and_in_order(
    slack_server: SlackServer, clock: Clock, code: int
) -> None:
    slack_server.script = [status(code), status(code)]
    entered(2)
    assert run(clock) == 1
    assert run(clock) == 0, "not before the back-off is over"
    for _ in range(3):
        clock.turn(seconds=31)
        run(clock)
    assert slack_server.words == titles(2)
    assert len(slack_server.received) == 4


def test_slack_down_for_a_while_loses_nothing(slack_server: SlackServer, clock: Clock) -> None:
    slack_server.stop()
    entered(4)
    for _ in range(20):
        assert run(clock) == 1
        clock.turn(seconds=31)
    assert states() == ["pending"] * 4
    slack_server.start()
    run(clock)
    assert slack_server.words == titles(4)
    assert Target.objects.get().failures == 0


def test_after_a_day_it_is_given_up(slack_server: SlackServer, clock: Clock) -> None:
    slack_server.stop()
    entered(2)
    run(clock)
    clock.turn(hours=24, minutes=1)
    run(clock)
    assert states() == ["failed"] * 2
    assert {each.error for each in Delivery.objects.all()} == {"it could not be sent for 24 hours"}


def test_what_would_never_be_taken_does_not_hold_up_what_follows(slack_server: SlackServer, clock: Clock) -> None:
    slack_server.script = [status(400, "invalid_payload")]
    entered(2)
    run(clock)
    assert states() == ["failed", "delivered"]
    assert Delivery.objects.get(state=State.FAILED).error == "HTTP 400 invalid_payload"
    assert Target.objects.get().failing_since is None


def test_a_message_that_breaks_the_server_lets_the_others_pass(slack_server: SlackServer, clock: Clock) -> None:
    pace = Pace(message_seconds=0, wait_seconds=0, backoff_seconds=(1,), patient_attempts=2)
    slack_server.script = [status(500), status(500)]
    entered(2)
    for _ in range(3):
        run(clock, pace)
        clock.turn(seconds=2)
    assert slack_server.words == ["number 1"]
    clock.turn(minutes=30)
    run(clock, pace)
    assert slack_server.words == ["number 1", "number 0"]


@pytest.mark.parametrize(
    ("code", "text"), [(404, "no_service"), (403, "invalid_token"), (410, "channel_is_archived"), (302, "")]
)
def test_a_target_that_refuses_for_good_rests_until_somebody_acts(
    slack_server: SlackServer, clock: Clock, code: int, text: str
) -> None:
    slack_server.script = [status(code, text, Location="/elsewhere") if code == 302 else status(code, text)]
    entered(2)
    for _ in range(3):
        run(clock)
        clock.turn(hours=1)
    target = Target.objects.get()
    assert len(slack_server.received) == 1
    assert states() == ["failed", "pending"]
    assert target.failing_since is not None
    assert text in target.failing_reason
    try_again(Target.objects.all())
    run(clock)
    assert slack_server.words == ["number 1"]
    assert send_again(Delivery.objects.filter(state=State.FAILED), clock()) == 1
    run(clock)
    assert slack_server.words == ["number 1", "number 0"]


def test_new_settings_are_a_new_target(slack_server: SlackServer, clock: Clock) -> None:
    slack_server.script = [status(404, "no_service")]
    entered(2)
    run(clock)
    SlackSettings.objects.create(webhook_url=f"{slack_server.url}/renewed")
    run(clock)
    assert slack_server.words == ["number 1"]
    assert slack_server.taken[0].path.endswith("/renewed")


def test_an_answer_that_never_came_is_not_sent_again_unasked(slack_server: SlackServer, clock: Clock) -> None:
    slack_server.script = [takes_and_hangs_up]
    entered(2)
    for _ in range(4):
        run(clock)
        clock.turn(minutes=5)
    assert slack_server.words == titles(2)
    assert states() == ["unconfirmed", "delivered"]
    assert send_again(Delivery.objects.all(), clock()) == 1
    run(clock)
    assert slack_server.words == ["number 0", "number 1", "number 0"], "because somebody asked"


def test_a_slow_server_costs_one_unconfirmed_message_and_then_a_rest(slack_server: SlackServer, clock: Clock) -> None:
    slack_server.always = slow(1.5)
    entered(3)
    assert run(clock) == 1
    assert run(clock) == 0
    assert states() == ["unconfirmed", "pending", "pending"]


def test_a_slow_target_does_not_hold_up_another(
    slack_server: SlackServer, clock: Clock, domain: Domain, settings: Settings
) -> None:
    slack_server.stop()
    hung = SlackServer(always=slow(3))
    hung.start()
    SlackSettings.objects.create(domain=domain, webhook_url=hung.url)
    slack_server.start()
    entered(3, domain_id=domain.id)
    entered(3)
    run(clock)
    hung.stop()
    assert slack_server.words == titles(3)
    assert len(hung.received) == 1


def test_what_was_switched_off_meanwhile_is_not_sent(slack_server: SlackServer, clock: Clock, domain: Domain) -> None:
    entered(1, domain_id=domain.id)
    SlackSettings.objects.create(domain=domain, is_on=False)
    run(clock)
    assert states() == ["withdrawn"]
    assert not slack_server.received
    assert Delivery.objects.get().payload == ""


def test_what_was_said_is_not_sent_once_its_domain_stays_silent(
    slack_server: SlackServer, clock: Clock, domain: Domain, settings: Settings
) -> None:
    """Also to a webhook of the whole installation, which goes on hearing what is wrong."""
    configure(settings)
    domain.reaches_slack = True
    domain.save()
    kinds = [NoticeKind.CONVERSATION.value, NoticeKind.INCIDENT.value]
    Webhook.objects.create(name="pager", url=slack_server.url, secret="fake-secret", kinds=kinds)
    entered(1, domain_id=domain.id)
    entered(1, domain_id=domain.id, kind=NoticeKind.CONVERSATION)
    Domain.objects.update(reaches_slack=False)
    run(clock)
    assert dict(Delivery.objects.values_list("kind", "state")) == {"conversation": "withdrawn", "incident": "delivered"}
    assert len(slack_server.taken) == 1


def test_too_many_that_wait_cost_the_oldest_conversations_and_no_incident(
    slack_server: SlackServer, clock: Clock
) -> None:
    conversations(6)
    entered(3)
    run(clock, Pace(message_seconds=0, wait_seconds=0, pending_max=5))
    assert slack_server.words == [*titles(3), "number 4", "number 5"]
    assert Target.objects.get().dropped == 4


def test_two_workers_at_once_send_each_message_once_and_in_order(slack_server: SlackServer) -> None:
    """Each with a connection of its own, as processes have."""
    conversations(30)

    def work() -> None:
        try:
            for _ in range(60):
                Sending(QUICK).run()
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert slack_server.words == titles(30)
    assert states() == ["delivered"] * 30


def test_a_worker_that_took_too_long_still_says_what_came_of_it(slack_server: SlackServer, clock: Clock) -> None:
    """Its lease was over, and another worker had marked the message."""

    def meanwhile(handler: Any) -> None:
        Delivery.objects.update(state=State.UNCONFIRMED)
        connection.close()
        status(200, "ok")(handler)

    slack_server.script = [meanwhile]
    entered(1)
    run(clock)
    assert states() == ["delivered"]


def test_what_a_dead_worker_had_begun_to_send_is_unconfirmed_and_the_rest_goes_on(
    slack_server: SlackServer, clock: Clock
) -> None:
    entered(2)
    first = Delivery.objects.order_by("position").first()
    assert first is not None
    Delivery.objects.filter(id=first.id).update(state=State.SENDING, sending_until=clock() + timedelta(seconds=60))
    run(clock)
    assert states() == ["sending", "delivered"], "it may still be at work"
    clock.turn(seconds=61)
    run(clock)
    assert states() == ["unconfirmed", "delivered"]
    assert slack_server.words == ["number 1"]


def test_an_address_that_cannot_be_read_stops_its_target_and_no_other(
    slack_server: SlackServer, clock: Clock, domain: Domain, settings: Settings
) -> None:
    SlackSettings.objects.create(domain=domain, webhook_url="https://hooks.slack.example/fake-canary-0123456789")
    entered(2, domain_id=domain.id)
    entered(1)
    settings.NEXUS_ENCRYPTION_KEYS = Fernet.generate_key().decode()
    run(clock)
    assert slack_server.words == titles(1)
    assert sorted(states()) == ["delivered", "failed", "pending"]
    assert "NEXUS_ENCRYPTION_KEYS" in Target.objects.get(failing_since__isnull=False).failing_reason


def test_while_there_is_nothing_to_do_a_run_asks_three_short_questions() -> None:
    with CaptureQueriesContext(connection) as queries:
        send_notices()
    assert len(queries) == 3
    assert all(query["sql"].startswith("SELECT") for query in queries)
