"""What happens now, for those who watch: each web process tells all others once a second what has ended in it, in one
small message of the channel layer. Nothing depends on it: what is lost here is in the record all the same."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from channels.layers import get_channel_layer

from accounts.facts import Snapshot
from accounts.secret import without_secrets
from telemetry.naming import Names
from telemetry.record.exchange import Exchange, Outcome

logger = logging.getLogger(__name__)

GROUP = "nexus.live"
MESSAGE = "nexus.tick"
SECONDS = 1.0
WAITING_MAX = 10_000
"""Exchanges of one second; beyond it the oldest are not told."""
ROWS_MAX = 50
"""Exchanges of a tick that are told one by one, the newest; all of them count in its sums."""
WITHOUT_ERROR = (Outcome.COMPLETED, Outcome.CANCELLED)


@dataclass(slots=True)
class Sums:
    """Of a domain, in one tick."""

    requests: int = 0
    errors: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: Decimal = Decimal(0)

    def add(self, exchange: Exchange) -> None:
        self.requests += 1
        self.errors += exchange.outcome not in WITHOUT_ERROR
        self.tokens_in += _prompt_tokens(exchange)
        self.tokens_out += exchange.output_tokens
        self.cost += exchange.cost or 0


class Ticker:
    """A sink. It is told in a thread; what it knows goes out from the event loop."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._names = Names(snapshot)
        self._ended: deque[Exchange] = deque(maxlen=WAITING_MAX)

    def __call__(self, exchanges: Sequence[Exchange]) -> None:
        self._ended.extend(exchanges)

    async def run(self) -> None:
        """Until it is cancelled."""
        failing = False
        while True:
            await asyncio.sleep(SECONDS)
            ended = [self._ended.popleft() for _ in range(len(self._ended))]
            if not ended:
                continue
            try:
                self._names.learn()
                await asyncio.wait_for(_send(tick_of(ended, self._names)), SECONDS)
                failing = False
            except Exception as error:
                if not failing:  # told once, until it works again
                    logger.warning("who watches the live pages hears nothing: %s", type(error).__name__)
                failing = True


def tick_of(ended: Sequence[Exchange], names: Names) -> dict[str, Any]:
    """Sums by domain, and the newest rows. Domains are strings; empty: of nobody's domain."""
    sums: dict[str, Sums] = {}
    for exchange in ended:
        sums.setdefault(_domain(exchange), Sums()).add(exchange)
    return {
        "sums": {
            domain: [each.requests, each.errors, each.tokens_in, each.tokens_out, float(each.cost)]
            for domain, each in sums.items()
        },
        "rows": [_row(exchange, names) for exchange in ended[-ROWS_MAX:]],
    }


def _row(exchange: Exchange, names: Names) -> dict[str, Any]:
    """Nothing of what was said; and a client may call its model anything."""
    return {
        "id": str(exchange.id),
        "domain_id": _domain(exchange),
        "at": exchange.started_at.isoformat(),
        "domain": names.of(exchange.domain_id),
        "key": names.of(exchange.client_key_id),
        "key_id": str(exchange.client_key_id or ""),
        "credential": names.of(exchange.credential_id),
        "credential_id": str(exchange.credential_id or ""),
        "model": without_secrets(exchange.model),
        "answered_model": without_secrets(exchange.answered_model),
        "kind": exchange.kind,
        "status": exchange.status,
        "outcome": exchange.outcome,
        "error_type": exchange.error_type,
        "is_stream": exchange.is_stream,
        "tokens_in": _prompt_tokens(exchange),
        "tokens_out": exchange.output_tokens,
        "cost": None if exchange.cost is None else float(exchange.cost),
        "first_byte_ms": exchange.first_byte_ms,
        "duration_ms": exchange.duration_ms,
        "session_id": without_secrets(exchange.session_id),
    }


def _prompt_tokens(exchange: Exchange) -> int:
    read = exchange.input_tokens + exchange.cache_read_tokens
    return read + exchange.cache_write_5m_tokens + exchange.cache_write_1h_tokens


def _domain(exchange: Exchange) -> str:
    return str(exchange.domain_id) if exchange.domain_id else ""


async def _send(tick: dict[str, Any]) -> None:
    layer = get_channel_layer()
    with contextlib.suppress(asyncio.QueueFull):
        await layer.group_send(GROUP, {"type": MESSAGE, **tick})
