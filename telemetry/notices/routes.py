"""Which notices go where. One function decides what counts for a domain; everything else asks it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import time
from typing import Any
from uuid import UUID

from django.conf import settings

from accounts.crypto import Sealed
from accounts.models import Domain
from accounts.secret import digest
from telemetry.conf import NoticesConf
from telemetry.models import SlackSettings, Webhook
from telemetry.models.notices import SLACK
from telemetry.notices.addresses import masked_url
from telemetry.notices.notice import NoticeKind

PRIVATE_KINDS = (NoticeKind.CONVERSATION, NoticeKind.ERROR)
"""What a domain that stays out of Slack does not want anybody to hear of unasked."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of settings with its address unread."""

    is_on: bool | None = None
    webhook_url: Sealed | str | None = field(default=None, repr=False)
    webhook_masked: str = ""
    channel: str = ""
    username: str = ""
    icon_emoji: str = ""
    quiet_from: time | None = None
    quiet_until: time | None = None
    time_zone: str = ""
    digest_at: time | None = None


COLUMNS = tuple(Row.__dataclass_fields__)
EMPTY = Row()


@dataclass(frozen=True, slots=True)
class SlackRoute:
    """How one domain reaches Slack: by a webhook or, with a token, by a channel."""

    url: Sealed | str | None = field(default=None, repr=False)
    url_masked: str = ""
    token: str = field(default="", repr=False)
    channel: str = ""
    username: str = ""
    icon_emoji: str = ""


@dataclass(frozen=True, slots=True)
class SlackChoice:
    """What counts for one domain, or for the installation."""

    route: SlackRoute | None
    """None: nothing goes to Slack."""
    quiet_from: time | None = None
    quiet_until: time | None = None
    time_zone: str = "UTC"
    digest_at: time | None = None


def slack_choice(conf: NoticesConf, installation: Row, own: Row = EMPTY, *, may_reach: bool = True) -> SlackChoice:
    """The domain's row over the installation's over the variables. An off is off: it falls back to nothing."""
    hours = own if own.quiet_from else installation
    return SlackChoice(
        _route(conf, installation, own) if may_reach and _is_on(conf, installation, own) else None,
        hours.quiet_from,
        hours.quiet_until,
        own.time_zone or installation.time_zone or "UTC",
        own.digest_at or installation.digest_at,
    )


def _is_on(conf: NoticesConf, installation: Row, own: Row) -> bool:
    if not conf.is_on:
        return False
    if own.is_on is not None:
        return own.is_on
    return conf.slack.is_on if installation.is_on is None else installation.is_on


def _route(conf: NoticesConf, installation: Row, own: Row) -> SlackRoute | None:
    """A domain's own webhook comes first: a token belongs to the installation."""
    slack = conf.slack
    names = {
        name: getattr(own, name) or getattr(installation, name) or getattr(slack, name)
        for name in ("channel", "username", "icon_emoji")
    }
    if own.webhook_url:
        return SlackRoute(own.webhook_url, own.webhook_masked, **names)
    if slack.bot_token and names["channel"]:
        return SlackRoute(token=slack.bot_token, **names)
    if installation.webhook_url:
        return SlackRoute(installation.webhook_url, installation.webhook_masked, **names)
    return SlackRoute(slack.webhook_url, masked_url(slack.webhook_url), **names) if slack.webhook_url else None


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook with its secrets unread."""

    id: UUID
    name: str
    url: Sealed = field(repr=False)
    url_masked: str
    secret: Sealed = field(repr=False)
    domain_id: UUID | None
    kinds: frozenset[str]

    def wants(self, kind: NoticeKind, domain_id: UUID | None, *, may_reach: bool) -> bool:
        if kind.value not in self.kinds:
            return False
        if self.domain_id is None:
            return may_reach or kind not in PRIVATE_KINDS
        return self.domain_id == domain_id


@dataclass(frozen=True, slots=True)
class Routes:
    """All settings at one moment. Secrets in it are still sealed: whoever sends opens the one that it needs."""

    conf: NoticesConf
    rows: Mapping[UUID | None, Row]
    reach: Mapping[UUID, bool]
    """Whether a domain may reach Slack at all."""
    hosts: Mapping[UUID, str]
    hooks: Mapping[str, Hook]

    @classmethod
    def load(cls) -> "Routes":
        domains = list(Domain.objects.only("id", "host", "reaches_slack"))
        rows = SlackSettings.objects.values_list("domain_id", *COLUMNS)
        return cls(
            settings.NOTICES,
            {domain_id: Row(*values) for domain_id, *values in rows},
            {domain.id: domain.may_reach_slack for domain in domains},
            {domain.id: domain.host for domain in domains},
            _hooks(),
        )

    def slack(self, domain_id: UUID | None) -> SlackChoice:
        own = self.rows.get(domain_id, EMPTY) if domain_id else EMPTY
        return slack_choice(self.conf, self.rows.get(None, EMPTY), own, may_reach=self._may_reach(domain_id))

    def sinks(self, kind: NoticeKind, domain_id: UUID | None) -> Iterator[str]:
        """Who wants to hear of it."""
        if self.slack(domain_id).route is not None:
            yield SLACK
        for sink, hook in self.hooks.items():
            if self.conf.is_on and hook.wants(kind, domain_id, may_reach=self._may_reach(domain_id)):
                yield sink

    def wanted(self, kind: NoticeKind) -> frozenset[UUID]:
        """The domains of which anybody wants to hear that."""
        return frozenset(domain_id for domain_id in self.reach if any(True for _ in self.sinks(kind, domain_id)))

    def _may_reach(self, domain_id: UUID | None) -> bool:
        """A domain that is gone cannot be asked any more: it stays silent."""
        return domain_id is None or self.reach.get(domain_id, False)


def _hooks() -> dict[str, Hook]:
    columns = ("id", "name", "url", "url_masked", "secret", "domain_id", "kinds")
    rows: Iterable[dict[str, Any]] = Webhook.objects.filter(is_active=True).values(*columns)
    return {str(row["id"]): Hook(**row | {"kinds": frozenset(row["kinds"])}) for row in rows}


def target_id(*where: str) -> str:
    """The same place has the same id, and tells nobody where it is."""
    return digest("\n".join(where), settings.SECRET_KEY)
