"""Something that people should hear of, before anybody has decided how it reaches them."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec


class NoticeKind(StrEnum):
    CONVERSATION = "conversation"
    """What a user said and Claude answered."""
    ERROR = "error"
    """An exchange that failed."""
    INCIDENT = "incident"
    DIGEST = "digest"
    TEST = "test"


class Notice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: UUID
    """The same id is told once, however often it is entered: it is made of what the notice is about."""
    kind: NoticeKind
    domain_id: UUID | None
    """Whose it is; None: the whole installation's."""
    title: str
    text: str
    """Slack's mrkdwn, with what people wrote escaped."""
    color: str = ""
    """`good`, `warning`, `danger`, or empty."""
    fields: list[tuple[str, str]] = []
    footer: str = ""
    at: datetime
    exchange_id: UUID | None = None
    thread: UUID | None = None
    """Notices of one thread are told together, where a sink has threads: the incident's id."""
    is_urgent: bool = False
    """It does not wait for the end of quiet hours."""
    facts: dict[str, str | int | float | bool | None] = {}
    """For programs: what a webhook sends beside the words."""
