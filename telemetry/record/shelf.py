"""How one closed exchange is laid out for the database: its bodies in pieces, redacted where their domain wants it."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from accounts.privacy import Storage
from telemetry.record import bodies, pieces
from telemetry.record.bodies import PIECES, ZSTD
from telemetry.record.exchange import Bodies, Closed, Exchange
from telemetry.record.piecestore import PieceStore
from telemetry.record.preview import request_preview, response_preview
from telemetry.record.redaction import RedactionFailed, RedactionTimedOut, Redactor

logger = logging.getLogger(__name__)

REST_SECONDS = 60.0


class Policy(NamedTuple):
    """What a domain wants kept now."""

    storage: Storage
    redactor: Redactor | None = None
    """Where `storage` is `redacted`."""


AS_IT_CAME = Policy(Storage.FULL)
PolicyOf = Callable[[UUID], Policy]
TEXT_COLUMN_LENGTH = 500
USER_AGENT_LENGTH = 300
WORDS = dict.fromkeys(("query", "error_message"), "")
PERSONAL = dict.fromkeys(("session_id", "agent_id", "parent_agent_id", "user_agent", "client_address"), "")

BODY_COLUMNS = (
    "exchange_id",
    "domain_id",
    "codec",
    "request_headers",
    "response_headers",
    "request",
    "response",
    "request_is_whole",
    "response_is_whole",
    "is_redacted",
    "stored_bytes",
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What one exchange leaves in the database."""

    exchange: Exchange
    request_preview: str = ""
    response_preview: str = ""
    body: tuple[Any, ...] | None = None
    """In the order of BODY_COLUMNS."""


class Shelf:
    def __init__(self, policy_of: PolicyOf = lambda domain_id: AS_IT_CAME) -> None:
        self._policy_of = policy_of
        self._plain = Redactor()
        self._rests_until: dict[Redactor, float] = {}

    def kept(self, closed: Closed, store: PieceStore) -> Kept:
        """Never raises: no exchange may hold up the others."""
        exchange, kept = closed.exchange, closed.bodies
        if exchange.domain_id is None:
            return Kept(exchange)
        # The domain may have become stricter since it was asked, or laxer: the stricter of both counts.
        policy = self._policy_of(exchange.domain_id)
        if policy.storage is Storage.NONE:
            return Kept(msgspec.structs.replace(exchange, **WORDS, **PERSONAL))
        if kept is None:
            return Kept(exchange)
        without_words = Kept(msgspec.structs.replace(exchange, **WORDS))
        if policy.storage is Storage.METADATA:
            return without_words
        redactor = policy.redactor or (self._plain if kept.redact else None)
        try:
            if redactor is None:
                return _as_it_came(exchange, exchange.domain_id, kept, store)
            if time.monotonic() >= self._rests_until.get(redactor, 0):
                return _redacted(exchange, exchange.domain_id, kept, store, redactor)
        except RedactionTimedOut as error:
            # Each try holds up the record of all domains.
            self._rests_until = {redactor: time.monotonic() + REST_SECONDS} if redactor else {}
            logger.error("redaction is too slow, bodies of its domain are not kept for a minute: %s", error)
        except RedactionFailed as error:
            logger.error("the bodies of exchange %s are not kept, they could not be redacted: %s", exchange.id, error)
        except Exception as error:
            logger.error("the bodies of exchange %s are not kept: %s", exchange.id, type(error).__name__)
        return without_words


def _as_it_came(exchange: Exchange, domain_id: UUID, kept: Bodies, store: PieceStore) -> Kept:
    parts = pieces.parts_of(kept.request)
    split = pieces.split(kept.request, parts)
    ids = [store.add(domain_id, piece, None) for piece in split.pieces]
    request = split.layout(ids) if ids else kept.request
    response = b"".join(kept.response)
    return Kept(
        exchange,
        request_preview(parts.messages),
        response_preview(response),
        _body(exchange, kept, request, response, has_pieces=bool(ids), is_redacted=False),
    )


def _redacted(exchange: Exchange, domain_id: UUID, kept: Bodies, store: PieceStore, redactor: Redactor) -> Kept:
    split = redactor.request(kept.request, lambda piece: piece)
    request = split.layout(store.add(domain_id, piece, redactor) for piece in split.pieces)
    response = redactor.response(b"".join(kept.response), exchange.is_stream)
    kept = msgspec.structs.replace(
        kept,
        request_headers=redactor.headers(kept.request_headers),
        response_headers=redactor.headers(kept.response_headers),
    )
    return Kept(
        msgspec.structs.replace(
            exchange,
            # A mark may be longer than what it stands for.
            query=redactor.text(exchange.query)[:TEXT_COLUMN_LENGTH],
            user_agent=redactor.text(exchange.user_agent)[:USER_AGENT_LENGTH],
            error_message=redactor.text(exchange.error_message)[:TEXT_COLUMN_LENGTH],
        ),
        request_preview(pieces.parts_of(kept.request).messages, redactor.text),
        response_preview(response, redactor.text),
        _body(exchange, kept, request, response, has_pieces=True, is_redacted=True),
    )


def _body(
    exchange: Exchange, kept: Bodies, request: bytes, response: bytes, *, has_pieces: bool, is_redacted: bool
) -> tuple[Any, ...]:
    stored_request, stored_response = bodies.compress(request), bodies.compress(response)
    return (
        exchange.id,
        exchange.domain_id,
        PIECES if has_pieces else ZSTD,
        msgspec.json.encode(kept.request_headers).decode(),
        msgspec.json.encode(kept.response_headers).decode(),
        stored_request,
        stored_response,
        kept.request_is_whole,
        kept.response_is_whole,
        is_redacted,
        len(stored_request) + len(stored_response),
    )
