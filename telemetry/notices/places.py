"""The places at the other end: from a sink and a domain to something that a notice can be posted to."""

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from accounts.crypto import Sealed, WrongEncryptionKey
from telemetry.models.notices import SLACK
from telemetry.notices.answer import Answer, Result
from telemetry.notices.notice import Notice
from telemetry.notices.routes import Hook, Routes, SlackRoute, target_id
from telemetry.notices.slack import Look, SlackChannel, SlackWebhook
from telemetry.notices.webhooks import ProgramWebhook

TIMEOUT_SECONDS = 10.0
UNREADABLE = "the address cannot be read with NEXUS_ENCRYPTION_KEYS"

Post = Callable[[Notice, UUID, str], Answer]
"""Takes the delivery's id, and the message that this one answers in a thread."""


@dataclass(frozen=True, slots=True)
class Place:
    id: str
    label: str
    """Shows where it is, and not how to get there."""
    post: Post = field(repr=False)


def place_of(
    sink: str, domain_id: UUID | None, routes: Routes, timeout_seconds: float = TIMEOUT_SECONDS
) -> Place | None:
    """None where it was switched off."""
    if not routes.conf.is_on:
        return None
    if sink == SLACK:
        route = routes.slack(domain_id).route
        return slack_place(route, routes.conf.slack.api_url, timeout_seconds) if route else None
    hook = routes.hooks.get(sink)
    return _program(hook, routes, timeout_seconds) if hook else None


def slack_place(route: SlackRoute, api_url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> Place:
    look = Look(route.channel, route.username, route.icon_emoji)
    if route.url is None:
        channel = SlackChannel(api_url, route.token, look, timeout_seconds)
        where = target_id(api_url, route.token, route.channel)
        return Place(where, f"Slack {route.channel}", lambda notice, _, thread: channel.post(notice, thread))
    label = f"Slack {route.url_masked}"
    try:
        url = _opened(route.url)
    except WrongEncryptionKey:
        return _unreadable(route.url, label)
    webhook = SlackWebhook(url, look, timeout_seconds)
    return Place(target_id(url), label, lambda notice, _, thread: webhook.post(notice, thread))


def _program(hook: Hook, routes: Routes, timeout_seconds: float) -> Place:
    label = f"{hook.name} {hook.url_masked}"
    try:
        url, secret = hook.url.open(), hook.secret.open()
    except WrongEncryptionKey:
        return _unreadable(hook.url, label)
    program = ProgramWebhook(url, secret, timeout_seconds)

    def post(notice: Notice, delivery_id: UUID, thread_ts: str) -> Answer:
        host = routes.hosts.get(notice.domain_id) if notice.domain_id else None
        return program.post(notice, delivery_id, host)

    return Place(target_id(url, str(hook.id)), label, post)


def _opened(secret: Sealed | str) -> str:
    return secret.open() if isinstance(secret, Sealed) else secret


def _unreadable(secret: Sealed | str, label: str) -> Place:
    where = target_id(secret.text if isinstance(secret, Sealed) else secret)
    return Place(where, label, lambda notice, delivery_id, thread: Answer(Result.BARRED, None, UNREADABLE))
