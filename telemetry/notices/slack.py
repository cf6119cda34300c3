"""Slack, by slack-sdk: an incoming webhook, or its API with a bot token. Nothing outside this module knows the SDK.

The SDK's own retries are off: after a connection that broke, they would send twice.
"""

import logging
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.error import URLError

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.webhook import WebhookClient

from telemetry.notices.answer import Answer, Result, by_status
from telemetry.notices.notice import Notice, NoticeKind

_SILENT = logging.Logger("slack_sdk", logging.CRITICAL)
"""The SDK logs addresses, and what an error says of them."""
_SILENT.addHandler(logging.NullHandler())
_CODE = re.compile(r"[a-z0-9_]{3,60}")
BARRING_CODES = {
    "access_denied",
    "account_inactive",
    "action_prohibited",
    "channel_is_archived",
    "channel_not_found",
    "ekm_access_denied",
    "invalid_auth",
    "invalid_token",
    "is_archived",
    "missing_scope",
    "no_permission",
    "no_service",
    "no_service_id",
    "no_team",
    "not_allowed_token_type",
    "not_authed",
    "not_in_channel",
    "org_login_required",
    "posting_to_general_channel_denied",
    "restricted_action",
    "team_access_not_granted",
    "team_disabled",
    "token_expired",
    "token_revoked",
}
LATER_CODES = {"ratelimited", "rate_limited", "request_timeout", "rollup_error", "service_unavailable"}
UNKNOWN_CODES = {"fatal_error", "internal_error"}
"""Of these Slack says that some of what was asked may have been done."""


@dataclass(frozen=True, slots=True)
class Look:
    """How Nexus presents itself in Slack."""

    channel: str = ""
    username: str = ""
    icon_emoji: str = ""

    def as_fields(self) -> dict[str, str]:
        named = {"channel": self.channel, "username": self.username, "icon_emoji": self.icon_emoji}
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True, slots=True)
class SlackWebhook:
    url: str = field(repr=False)
    look: Look
    timeout_seconds: float

    def post(self, notice: Notice, thread_ts: str = "") -> Answer:
        """A webhook has no threads."""
        client = WebhookClient(self.url, timeout=self.timeout_seconds, logger=_SILENT, retry_handlers=[])  # type: ignore[arg-type] # urllib takes parts of a second
        try:
            response = client.send_dict(body(notice, self.look))
        except Exception as error:
            return _not_answered(error)
        return _webhook_answer(response.status_code, response.body or "", dict(response.headers))


@dataclass(frozen=True, slots=True)
class SlackChannel:
    api_url: str
    token: str = field(repr=False)
    look: Look
    timeout_seconds: float

    def post(self, notice: Notice, thread_ts: str = "") -> Answer:
        """Told as a reply where `thread_ts` names a message."""
        message = body(notice, self.look) | ({"thread_ts": thread_ts} if thread_ts else {})
        return self._called("chat.postMessage", message)

    def edit(self, notice: Notice, channel_id: str, message_ts: str) -> Answer:
        """The message shows this instead. Slack knows the channel by its id only."""
        return self._called("chat.update", body(notice, Look()) | {"channel": channel_id, "ts": message_ts})

    def _called(self, method: str, message: dict[str, Any]) -> Answer:
        client = WebClient(
            self.token,
            base_url=self.api_url,
            timeout=self.timeout_seconds,  # type: ignore[arg-type] # urllib takes parts of a second
            logger=_SILENT,
            retry_handlers=[],
        )
        try:
            response = client.api_call(method, json=message)
        except SlackApiError as error:
            found = error.response
            code = found.get("error") if isinstance(found.data, dict) else ""
            return _api_answer(found.status_code, str(code), found.headers)
        except Exception as error:
            return _not_answered(error)
        ts, channel = str(response.get("ts") or ""), str(response.get("channel") or "")
        return Answer(Result.ARRIVED, response.status_code, message_ts=ts, message_channel=channel)


def body(notice: Notice, look: Look) -> dict[str, Any]:
    """A conversation is a plain message with a footer; what has a title is an attachment with a coloured bar."""
    footer: dict[str, Any] = {"footer": notice.footer} if notice.footer else {}
    extra = {"ts": int(notice.at.timestamp()), "mrkdwn_in": ["text"], **footer}
    never_linked = {"parse": "none", "link_names": False, "unfurl_links": False, "unfurl_media": False}
    if notice.kind is NoticeKind.CONVERSATION:
        return {"text": notice.text, "attachments": [{"fallback": "", **extra}], **look.as_fields(), **never_linked}
    attachment = {
        "fallback": notice.title,
        "title": notice.title,
        "text": notice.text,
        **({"color": notice.color} if notice.color else {}),
        "fields": [{"title": name, "value": value, "short": True} for name, value in notice.fields],
        **extra,
    }
    return {"attachments": [attachment], **look.as_fields(), **never_linked}


def _webhook_answer(status: int, text: str, headers: dict[str, str]) -> Answer:
    code = text.strip() if _CODE.fullmatch(text.strip()) else ""
    if status < 300:
        # Somebody else's page, such as a login to which we were redirected, is no sign that it arrived.
        is_page = text.lstrip().startswith("<")
        return Answer(Result.BARRED, status, "a web page answered, not Slack") if is_page else by_status(status)
    answer = by_status(status, code, headers)
    return Answer(Result.BARRED, status, answer.error) if code in BARRING_CODES else answer


def _api_answer(status: int, code: str, headers: Any) -> Answer:
    code = code if _CODE.fullmatch(code) else ""
    if code in BARRING_CODES:
        return Answer(Result.BARRED, status, code)
    if code in UNKNOWN_CODES and status < 500:
        return Answer(Result.UNKNOWN, status, code)
    if code in LATER_CODES or status >= 300:
        status = 503 if status < 300 else status
        return by_status(status, code, dict(headers))
    return Answer(Result.REFUSED, status, code or "an answer that is not Slack's")


def _not_answered(error: Exception) -> Answer:
    """urllib wraps in URLError what happens until the whole request is sent, and nothing that happens later."""
    if isinstance(error, URLError):
        reason = error.reason
        return Answer(Result.LATER, None, f"not reached: {type(reason).__name__}")
    if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
        return Answer(Result.BARRED, None, f"the address cannot be used: {type(error).__name__}")
    return Answer(Result.UNKNOWN, None, f"no answer after it was sent: {type(error).__name__}")
