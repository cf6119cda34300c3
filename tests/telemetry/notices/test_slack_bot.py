"""Incidents in Slack, against a server that answers as Slack does."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from telemetry.models import Incident
from telemetry.notices.incidents import evaluate
from telemetry.notices.sending import Pace, Sending
from telemetry.notices.slack_bot import show_states
from tests.telemetry.notices.incidents import Scripted, finding
from tests.telemetry.notices.slackserver import SlackServer, status
from tests.telemetry.notices.told import configure

pytestmark = pytest.mark.django_db(transaction=True)
FAKE_TOKEN = "xoxb-fake-token-0000"


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture(autouse=True)
def bot(slack_server: SlackServer, settings: Settings) -> None:
    configure(settings, bot_token=FAKE_TOKEN, channel="#claude", api_url=slack_server.api_url)


def send() -> None:
    Sending(Pace(message_seconds=0, wait_seconds=0)).run()


def comes_and_goes(now: datetime) -> None:
    evaluate([Scripted([finding()])], now)
    send()
    evaluate([Scripted()], now + timedelta(minutes=3))
    send()


def test_steps_are_replies_and_the_opening_shows_the_state(slack_server: SlackServer, now: datetime) -> None:
    comes_and_goes(now)
    assert show_states(now) == 1
    assert show_states(now) == 0
    opening, reply, edit = slack_server.taken
    assert [each.path for each in slack_server.taken] == ["/api/chat.postMessage"] * 2 + ["/api/chat.update"]
    assert "thread_ts" not in opening.message
    ts = reply.message["thread_ts"]
    assert (edit.message["channel"], edit.message["ts"]) == ("C0FAKE", ts)
    assert edit.words == reply.words == f"Resolved: {finding().label}"
    assert edit.message["attachments"][0]["color"] == "good"


def test_an_edit_that_failed_is_tried_again(slack_server: SlackServer, now: datetime) -> None:
    comes_and_goes(now)
    slack_server.script = [status(503)]
    assert show_states(now) == 0
    assert show_states(now) == 1


def test_an_edit_that_slack_refuses_is_not(slack_server: SlackServer, now: datetime) -> None:
    comes_and_goes(now)
    slack_server.script = [status(200, '{"ok": false, "error": "edit_window_closed"}')]
    assert (show_states(now), show_states(now)) == (0, 0)
    assert len(slack_server.received) == 3


def test_nothing_is_edited_before_the_opening_has_arrived(slack_server: SlackServer, now: datetime) -> None:
    evaluate([Scripted([finding()])], now)
    evaluate([Scripted()], now + timedelta(minutes=3))
    assert show_states(now) == 0
    send()
    assert show_states(now) == 1


def test_a_webhook_has_no_threads_and_names_the_incident(
    slack_server: SlackServer, settings: Settings, now: datetime
) -> None:
    configure(settings, webhook_url=slack_server.url)
    comes_and_goes(now)
    assert show_states(now) == 0
    incident = Incident.objects.get()
    footers = {each.message["attachments"][0]["footer"] for each in slack_server.taken}
    assert (len(slack_server.taken), footers) == (2, {f"incident {incident.short_id}"})
