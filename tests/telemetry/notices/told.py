"""Notices and settings for tests, with plausible values where a test does not care."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pytest_django.fixtures import Settings

from accounts.ids import new_id
from telemetry.conf import NoticesConf, SlackConf
from telemetry.notices.notice import Notice, NoticeKind

FAKE_WEBHOOK = "https://hooks.slack.example/services/T0FAKE/B0FAKE/fake-canary-0123456789"


def notice(**changes: Any) -> Notice:
    values: dict[str, Any] = {
        "id": new_id(),
        "kind": NoticeKind.INCIDENT,
        "domain_id": None,
        "title": "Requests of claude.example.com fail",
        "text": "12 of 20 in five minutes.",
        "at": datetime(2026, 11, 23, 6, 0, tzinfo=UTC),
    }
    return Notice(**values | changes)


def configure(settings: Settings, *, is_on: bool = True, **slack: Any) -> None:
    """What the variables say."""
    settings.NOTICES = NoticesConf(is_on=is_on, slack=replace(SlackConf(), **slack))
