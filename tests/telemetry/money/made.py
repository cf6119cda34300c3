"""Exchanges as hypothesis makes them: with what is null, at the edges of hours and buckets, and with prices of ten
places."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from accounts.ids import first_id_at, new_id
from telemetry.money.histogram import BOUNDS_MS
from telemetry.record.exchange import Closed, Kind, Outcome, Pricing
from tests.telemetry.facts import exchange

NOON = datetime(2025, 6, 11, 12, tzinfo=UTC)
SOME_IDS: list[UUID | None] = [None, UUID(int=1), UUID(int=2)]
MILLISECONDS = st.sampled_from([0, *BOUNDS_MS, *(bound + 1 for bound in BOUNDS_MS)]) | st.integers(0, 2_000_000)
COSTS = st.decimals(0, 8000, places=10) | st.just(Decimal("0.0000000001"))
"""Twelve of them have no more than the 15 digits that SQLite keeps of a number."""


def id_at(moment: datetime) -> UUID:
    """An id of that moment that is made once."""
    return UUID(int=first_id_at(moment).int | new_id().int & 0xFFFF_FFFF_FFFF)


@st.composite
def closed_exchanges(draw: st.DrawFn) -> Closed:
    moment = NOON + draw(st.sampled_from([0, 1, 3_599_999, 3_600_000, 86_400_000])) * timedelta(milliseconds=1)
    cost = draw(st.none() | COSTS)
    pricing = draw(st.sampled_from([Pricing.FREE, Pricing.UNPRICED])) if cost is None else Pricing.PRICED
    tokens = {name: draw(st.integers(0, 2**31 - 1)) for name in ("input_tokens", "cache_read_tokens")}
    facts: dict[str, Any] = {
        "id": id_at(moment),
        "started_at": moment,
        "domain_id": draw(st.sampled_from(SOME_IDS)),
        "client_key_id": draw(st.sampled_from(SOME_IDS)),
        "credential_id": draw(st.sampled_from(SOME_IDS)),
        "model": draw(st.sampled_from(["a", "b", "", "of two words"])),
        "answered_model": draw(st.sampled_from(["", "a", "b"])),
        "kind": draw(st.sampled_from(list(Kind))),
        "is_stream": draw(st.booleans()),
        "status": draw(st.sampled_from([None, 200, 204, 301, 400, 404, 429, 499, 500, 529])),
        "outcome": draw(st.sampled_from(list(Outcome))),
        "attempts": draw(st.integers(0, 3)),
        "duration_ms": draw(MILLISECONDS),
        "first_byte_ms": draw(st.none() | MILLISECONDS),
        "usage_source": draw(st.sampled_from(["", "final", "estimated"])),
        "pricing": pricing,
        "cost": Decimal(0) if pricing is Pricing.FREE else cost,
    }
    return Closed(exchange(**facts | tokens), None)


def batches_of_exchanges() -> st.SearchStrategy[list[Closed]]:
    return st.lists(closed_exchanges(), max_size=12)
