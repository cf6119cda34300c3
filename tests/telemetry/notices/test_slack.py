"""Slack's two ways in, each with its own ways of saying no."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings

from accounts.ids import new_id
from telemetry.models import Delivery, SlackSettings, Target
from telemetry.notices.answer import Result
from telemetry.notices.notice import NoticeKind
from telemetry.notices.outbox import enter
from telemetry.notices.sending import Pace, Sending
from telemetry.notices.slack import Look, SlackChannel, SlackWebhook
from tests.telemetry.notices.slackserver import Handler, SlackServer, slow, status, takes_and_hangs_up, too_many
from tests.telemetry.notices.told import configure, notice

FAKE_TOKEN = "xoxb-fake-canary-0123456789"
LOOK = Look("#claude", "Nexus", ":robot_face:")
QUICK = Pace(message_seconds=0, wait_seconds=0, backoff_seconds=(30,), timeout_seconds=0.5)


def says(code: str) -> Callable[[Handler], None]:
    return status(200, json.dumps({"ok": False, "error": code}))


def test_a_conversation_is_a_plain_message_with_a_footer(slack_server: SlackServer) -> None:
    said = notice(kind=NoticeKind.CONVERSATION, title="", text="🤖 Claude: Yes.", footer="claude.example.com | m")
    answer = SlackWebhook(slack_server.url, LOOK, 2).post(said)
    assert (answer.result, answer.status) == (Result.ARRIVED, 200)
    message = slack_server.taken[0].message
    assert message["text"] == "🤖 Claude: Yes."
    assert (message["channel"], message["username"], message["icon_emoji"]) == ("#claude", "Nexus", ":robot_face:")
    assert (message["link_names"], message["parse"]) == (False, "none")
    (attachment,) = message["attachments"]
    assert (attachment["footer"], attachment["ts"]) == ("claude.example.com | m", int(said.at.timestamp()))


def test_an_error_has_a_red_bar(slack_server: SlackServer) -> None:
    error = notice(kind=NoticeKind.ERROR, title="Request 1", color="danger", fields=[("Domain", "d"), ("Time", "now")])
    SlackWebhook(slack_server.url, LOOK, 2).post(error)
    (attachment,) = slack_server.taken[0].message["attachments"]
    assert (attachment["color"], attachment["title"]) == ("danger", "Request 1")
    assert [(each["title"], each["value"]) for each in attachment["fields"]] == [("Domain", "d"), ("Time", "now")]


@pytest.mark.parametrize(
    ("behaviour", "result", "status_code"),
    [
        (status(200, "ok"), Result.ARRIVED, 200),
        (status(302, "", Location="/login"), Result.BARRED, 200),
        (status(400, "invalid_payload"), Result.REFUSED, 400),
        (status(400, "invalid_token"), Result.BARRED, 400),
        (status(403, "action_prohibited"), Result.BARRED, 403),
        (status(404, "no_service"), Result.BARRED, 404),
        (status(413, ""), Result.REFUSED, 413),
        (too_many(7), Result.LATER, 429),
        (status(500, "server_error"), Result.LATER, 500),
        (takes_and_hangs_up, Result.UNKNOWN, None),
        (slow(1), Result.UNKNOWN, None),
    ],
)
def test_what_a_webhooks_answers_mean(
    slack_server: SlackServer, behaviour: Any, result: Result, status_code: int | None
) -> None:
    slack_server.script = [behaviour]
    answer = SlackWebhook(slack_server.url, LOOK, 0.3).post(notice())
    assert (answer.result, answer.status) == (result, status_code)
    assert len(slack_server.received) == 1, "the SDK does not try again by itself"
    assert answer.wait_seconds == (7 if status_code == 429 else None)


@pytest.mark.parametrize(
    ("behaviour", "result"),
    [
        (says("channel_not_found"), Result.BARRED),
        (says("invalid_auth"), Result.BARRED),
        (says("ratelimited"), Result.LATER),
        (says("msg_too_long"), Result.REFUSED),
        (says("fatal_error"), Result.UNKNOWN),
        (too_many(3), Result.LATER),
        (status(503, "<html>busy</html>"), Result.LATER),
        (takes_and_hangs_up, Result.UNKNOWN),
        (slow(1), Result.UNKNOWN),
    ],
)
def test_what_the_apis_answers_mean(slack_server: SlackServer, behaviour: Any, result: Result) -> None:
    slack_server.script = [behaviour]
    answer = SlackChannel(slack_server.api_url, FAKE_TOKEN, LOOK, 0.3).post(notice())
    assert answer.result is result
    assert len(slack_server.received) == 1


@pytest.mark.parametrize("way", ["webhook", "channel"])
def test_a_server_that_is_down_was_not_reached(slack_server: SlackServer, way: str) -> None:
    slack_server.stop()
    place: Any = SlackWebhook(slack_server.url, LOOK, 0.3)
    if way == "channel":
        place = SlackChannel(slack_server.api_url, FAKE_TOKEN, LOOK, 0.3)
    assert place.post(notice()).result is Result.LATER


@pytest.mark.django_db(transaction=True)
def test_an_incident_is_one_thread(slack_server: SlackServer, settings: Settings) -> None:
    configure(settings, bot_token=FAKE_TOKEN, channel="#claude", api_url=slack_server.api_url)
    incident, other = new_id(), new_id()
    enter([notice(thread=incident), notice(thread=other), notice(thread=incident), notice()])
    Sending(QUICK).run()
    first, second, third, fourth = (each.message for each in slack_server.taken)
    assert "thread_ts" not in first | second | fourth
    begun = Delivery.objects.filter(thread=incident).order_by("position").first()
    assert begun is not None
    assert third["thread_ts"] == begun.message_ts != ""
    assert slack_server.taken[0].headers["authorization"] == f"Bearer {FAKE_TOKEN}"
    assert slack_server.taken[0].path == "/api/chat.postMessage"


TROUBLES = (
    status(404, "Cannot POST /services/T0FAKE/B0FAKE/fake-canary-0123456789"),
    status(500, "<html>/services/T0FAKE/B0FAKE/fake-canary-0123456789</html>"),
    status(400, "invalid_payload"),
    takes_and_hangs_up,
    slow(1),
    too_many(1),
)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", ["webhook", "channel"])
def test_addresses_and_keys_are_in_no_log_and_no_row(
    slack_server: SlackServer, settings: Settings, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    """Whatever goes wrong, with every logger at its most talkative."""
    caplog.set_level(logging.DEBUG)
    for name in ("slack_sdk", "slack_sdk.webhook.client", "slack_sdk.web.base_client", "urllib3", "httpx"):
        caplog.set_level(logging.DEBUG, name)
    if way == "webhook":
        SlackSettings.objects.create(webhook_url=slack_server.url)
    else:
        configure(settings, bot_token=FAKE_TOKEN, channel="#claude", api_url=slack_server.api_url)
    for trouble in TROUBLES:
        slack_server.script = [trouble]
        enter([notice()])
        Target.objects.update(failing_since=None, free_at="2026-01-01T00:00Z")
        Sending(QUICK).run()
    slack_server.stop()
    Target.objects.update(failing_since=None, free_at="2026-01-01T00:00Z")
    enter([notice()])
    Sending(QUICK).run()
    assert len(slack_server.received) >= len(TROUBLES)
    rows = [*Delivery.objects.values(), *Target.objects.values(), *SlackSettings.objects.values("webhook_masked")]
    said = "\n".join([caplog.text, *map(str, rows)])
    for canary in ("fake-canary", "B0FAKE", FAKE_TOKEN):
        assert canary not in said
