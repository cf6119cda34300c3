"""Workers are processes, and processes are killed: at the worst moments, and at any."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from telemetry.models import Delivery
from telemetry.models.notices import State
from telemetry.notices.outbox import enter
from telemetry.notices.sending import Pace, Sending
from tests.served import eventually
from tests.telemetry.notices.slackserver import SlackServer, slow
from tests.telemetry.notices.told import configure, notice

pytestmark = pytest.mark.django_db(transaction=True)

QUICK = Pace(message_seconds=0, wait_seconds=0, backoff_seconds=(1,), timeout_seconds=5)
WORKER = """
import os, signal, sys, time
import django; django.setup()
from telemetry.notices.sending import Pace, Sending
from telemetry.notices.places import Place

def die(*arguments, **values):
    os.kill(os.getpid(), signal.SIGKILL)

moment = sys.argv[1]
if moment != "any":
    setattr(Sending, moment, die)
while True:
    Sending(Pace(message_seconds=0, wait_seconds=0, lease_seconds=float(sys.argv[2]), timeout_seconds=5)).run()
    time.sleep(0.01)
"""


def environment(url: str) -> dict[str, str]:
    """The database of this test, for another process."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "postgresql":
        database = urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))
    else:
        database = f"sqlite:///{name}"
    variables = {"DATABASE_URL": database, "SLACK_WEBHOOK_URL": url, "DJANGO_SETTINGS_MODULE": "nexus.settings"}
    return {**os.environ, **variables}


@contextmanager
def worker(slack: SlackServer, moment: str = "any", lease_seconds: float = 60) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-c", WORKER, moment, str(lease_seconds)]
    process = subprocess.Popen(command, env=environment(slack.url))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def finish(minutes: float = 5) -> None:
    """What a worker does that lives, when all leases are over."""
    Sending(QUICK, lambda: timezone.now() + timedelta(minutes=minutes)).run()


@pytest.fixture(autouse=True)
def _slack(slack_server: SlackServer, settings: Settings) -> None:
    configure(settings, webhook_url=slack_server.url)


def states() -> list[str]:
    return list(Delivery.objects.order_by("position").values_list("state", flat=True))


@pytest.mark.parametrize(
    ("moment", "first", "words"),
    [
        ("_claim", "delivered", ["number 0", "number 1"]),
        ("_posted", "unconfirmed", ["number 1"]),
        ("_settle", "unconfirmed", ["number 0", "number 1"]),
    ],
)
def test_killed_at_the_worst_moments(slack_server: SlackServer, moment: str, first: str, words: list[str]) -> None:
    """Before it began, a message is sent by the next worker. Once it may have left, it is not sent again."""
    enter([notice(title=f"number {number}") for number in range(2)])
    with worker(slack_server, moment) as process:
        assert process.wait(20) == -signal.SIGKILL
    finish()
    assert states() == [first, "delivered"]
    assert slack_server.words == words


def test_killed_while_slack_was_answering(slack_server: SlackServer) -> None:
    slack_server.script = [slow(20)]
    enter([notice(title=f"number {number}") for number in range(3)])
    with worker(slack_server) as process:
        eventually(lambda: slack_server.received, 20)
        process.kill()
    finish(minutes=0.1)
    assert states() == ["sending", "pending", "pending"], "until its lease is over nobody knows that it is dead"
    finish()
    assert states() == ["unconfirmed", "delivered", "delivered"]
    assert slack_server.words == ["number 0", "number 1", "number 2"]


def test_killed_at_any_moment_nothing_is_lost_and_nothing_comes_twice(slack_server: SlackServer) -> None:
    chance = random.Random(20261123)
    count = 60
    titles = [f"number {number}" for number in range(count)]
    slack_server.always = slow(0.02)
    enter([notice(title=title) for title in titles])
    killed = 0
    while len(slack_server.received) < count // 2:
        enough = len(slack_server.received) + 6
        with worker(slack_server, lease_seconds=0.5) as one, worker(slack_server, lease_seconds=0.5) as other:
            eventually(lambda enough=enough: len(slack_server.received) >= enough, 60)  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.1))
            one.kill()
            other.kill()
            killed += 2
    slack_server.always = None
    for _ in range(3):
        finish()
    came = Counter(slack_server.words)
    assert [words for words, times in came.items() if times > 1] == []
    unconfirmed = {
        delivery_title(payload)
        for payload in Delivery.objects.filter(state=State.UNCONFIRMED).values_list("payload", flat=True)
    }
    assert set(titles) == set(came) | unconfirmed
    assert set(states()) <= {"delivered", "unconfirmed"}
    assert len(unconfirmed) <= killed, "only what was on its way when a worker died"


def delivery_title(payload: str) -> str:
    return next(title for title in payload.split('"') if title.startswith("number "))
