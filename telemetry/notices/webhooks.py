"""Webhooks of the operator's own: signed JSON, for programs."""

import hashlib
import hmac
import logging
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import msgspec

from telemetry.notices.answer import Answer, Result, by_status
from telemetry.notices.notice import Notice, NoticeKind

logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses

NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.WriteError,
    httpx.WriteTimeout,
    httpx.UnsupportedProtocol,
)
"""Before the whole request was sent: nobody can have taken half of it for an order."""


@dataclass(frozen=True, slots=True)
class ProgramWebhook:
    url: str = field(repr=False)
    secret: str = field(repr=False)
    timeout_seconds: float

    def post(self, notice: Notice, delivery_id: UUID, domain: str | None) -> Answer:
        content = body(notice, domain)
        headers = {
            "content-type": "application/json",
            "user-agent": "Nexus",
            "x-nexus-delivery": str(delivery_id),
            **signed(self.secret, content, int(time.time())),
        }
        try:
            with (
                httpx.Client(timeout=self.timeout_seconds, follow_redirects=False) as client,
                client.stream("POST", self.url, content=content, headers=headers) as response,
            ):
                return by_status(response.status_code, headers=dict(response.headers))
        except NOT_SENT as error:
            return Answer(Result.LATER, None, f"not reached: {type(error).__name__}")
        except httpx.InvalidURL:
            return Answer(Result.BARRED, None, "the address cannot be used")
        except Exception as error:
            return Answer(Result.UNKNOWN, None, f"no answer after it was sent: {type(error).__name__}")


def signed(secret: str, content: bytes, timestamp: int) -> dict[str, str]:
    """The receiver computes the same, and refuses what is older than some minutes."""
    signature = hmac.new(secret.encode(), f"{timestamp}.".encode() + content, hashlib.sha256).hexdigest()
    return {"x-nexus-timestamp": str(timestamp), "x-nexus-signature": f"v1={signature}"}


def body(notice: Notice, domain: str | None) -> bytes:
    fields: dict[str, Any] = {
        "id": notice.id,
        "kind": notice.kind,
        "at": notice.at,
        "domain": domain,
        "title": notice.title,
        "text": notice.text,
        "facts": notice.facts,
        "exchange_id": notice.exchange_id,
    }
    if notice.kind is NoticeKind.INCIDENT:
        fields["incident"] = notice.thread
    return msgspec.json.encode(fields)
