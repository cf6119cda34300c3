"""Webhooks of the operator's own."""

import hashlib
import hmac
import logging
import time
from typing import Any

import pytest
from pytest_django import Settings

from accounts.ids import new_id
from accounts.models import Domain
from telemetry.models import Delivery, Webhook
from telemetry.notices.answer import Result
from telemetry.notices.notice import NoticeKind
from telemetry.notices.outbox import enter
from telemetry.notices.sending import Pace, Sending
from telemetry.notices.webhooks import ProgramWebhook
from tests.telemetry.notices.slackserver import SlackServer, slow, status, takes_and_hangs_up, too_many
from tests.telemetry.notices.told import configure, notice

FAKE_SECRET = "fake-webhook-secret-canary"
QUICK = Pace(message_seconds=0, wait_seconds=0, backoff_seconds=(30,), timeout_seconds=0.5)


@pytest.fixture
def hook(domain: Domain, slack_server: SlackServer, settings: Settings) -> Webhook:
    configure(settings)
    return Webhook.objects.create(name="pager", url=slack_server.url, secret=FAKE_SECRET)


@pytest.mark.django_db(transaction=True)
def test_it_is_signed_json(hook: Webhook, domain: Domain, slack_server: SlackServer) -> None:
    incident = new_id()
    one = notice(domain_id=domain.id, thread=incident, facts={"failed": 12})
    enter([one])
    Sending(QUICK).run()
    (got,) = slack_server.taken
    assert got.message == {
        "id": str(one.id),
        "kind": "incident",
        "at": "2026-11-23T06:00:00Z",
        "domain": "claude.example.com",
        "title": one.title,
        "text": one.text,
        "facts": {"failed": 12},
        "exchange_id": None,
        "incident": str(incident),
    }
    timestamp = got.headers["x-nexus-timestamp"]
    signature = hmac.new(FAKE_SECRET.encode(), f"{timestamp}.".encode() + got.raw, hashlib.sha256).hexdigest()
    assert got.headers["x-nexus-signature"] == f"v1={signature}"
    assert abs(int(timestamp) - time.time()) < 60
    assert got.headers["x-nexus-delivery"] == str(Delivery.objects.get().id)


@pytest.mark.django_db(transaction=True)
def test_conversations_only_where_chosen(hook: Webhook, domain: Domain, slack_server: SlackServer) -> None:
    enter([notice(kind=NoticeKind.CONVERSATION, domain_id=domain.id)])
    hook.kinds = ["conversation"]
    hook.save()
    enter([notice(kind=NoticeKind.CONVERSATION, domain_id=domain.id, text="chosen")])
    Sending(QUICK).run()
    assert [each.message["text"] for each in slack_server.taken] == ["chosen"]


@pytest.mark.django_db(transaction=True)
def test_a_webhook_that_was_removed_is_not_sent_to(hook: Webhook, slack_server: SlackServer) -> None:
    enter([notice()])
    hook.delete()
    Sending(QUICK).run()
    assert Delivery.objects.get().state == "withdrawn"
    assert not slack_server.received


@pytest.mark.django_db(transaction=True)
def test_trouble_at_a_webhook_does_not_touch_slack(
    hook: Webhook, slack_server: SlackServer, settings: Settings
) -> None:
    with_slack = SlackServer()
    with_slack.start()
    configure(settings, webhook_url=with_slack.url)
    slack_server.always = status(404)
    enter([notice(), notice()])
    Sending(QUICK).run()
    with_slack.stop()
    assert len(with_slack.taken) == 2
    assert len(slack_server.received) == 1


@pytest.mark.parametrize(
    ("behaviour", "result"),
    [
        (status(204), Result.ARRIVED),
        (status(307, "", Location="/elsewhere"), Result.BARRED),
        (status(302, "", Location="/elsewhere"), Result.BARRED),
        (status(400), Result.REFUSED),
        (status(404), Result.BARRED),
        (too_many(5), Result.LATER),
        (status(500), Result.LATER),
        (takes_and_hangs_up, Result.UNKNOWN),
        (slow(1), Result.UNKNOWN),
    ],
)
def test_what_its_answers_mean(
    slack_server: SlackServer, caplog: pytest.LogCaptureFixture, behaviour: Any, result: Result
) -> None:
    caplog.set_level(logging.INFO)
    slack_server.script = [behaviour]
    answer = ProgramWebhook(slack_server.url, FAKE_SECRET, 0.3).post(notice(), new_id(), None)
    assert answer.result is result
    assert len(slack_server.received) == 1
    assert "canary" not in caplog.text + repr(answer)


def test_a_server_that_is_down_was_not_reached(slack_server: SlackServer) -> None:
    slack_server.stop()
    answer = ProgramWebhook(slack_server.url, FAKE_SECRET, 0.3).post(notice(), new_id(), None)
    assert answer.result is Result.LATER
