"""What a request asks of its limits, and what it really used in the end."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from accounts.facts import ClientKeyFacts
from proxy.estimates import Estimate
from telemetry.limits.meters import Dimension, Meter, as_units
from telemetry.limits.plan import Plan
from telemetry.limits.store import Granted, Settlement, Want
from telemetry.record.exchange import Exchange, Outcome

NOTHING_USED = (Outcome.UPSTREAM_FAILED, Outcome.FAILED, Outcome.REFUSED)
"""The API never answered: not even the request counts."""


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for what."""

    id: UUID
    key: ClientKeyFacts
    credential_id: UUID | None
    model: str
    user_id: str
    session_id: str
    estimate: Estimate
    is_background: bool = False
    """It waits behind the requests of people."""
    may_wait: bool = True
    """For room, where its client key may."""
    must_fit: bool = False
    """Refused where less money is left than it may cost, since that may be any amount: a message batch."""

    @property
    def priority(self) -> str:
        return "background" if self.is_background else "interactive"


class Admission(msgspec.Struct):
    """That a request was let in."""

    want: Want
    granted: Granted
    waited_seconds: float = 0
    further: "Admission | None" = None
    """Of the limits of another credential, which took the request over."""

    def settlements(self, exchange: Exchange) -> list[Settlement]:
        """What was used, for all meters; of credentials whose call came to nothing, nothing."""
        passed_on = self.further is not None
        used = tuple(
            0 if passed_on and meter.scope == "credential" else _used(meter, exchange) for meter in self.want.meters
        )
        own = Settlement(self.want, self.granted.at_ms, used)
        return [own, *(self.further.settlements(exchange) if self.further else ())]


def want(asker: Asker, plan: Plan, now: datetime, scope: str = "") -> Want:
    """Of all meters, or of those about one scope."""
    meters = plan.meters_for(asker.key, asker.user_id, asker.session_id, now)
    if scope:
        meters = tuple(meter for meter in meters if meter.scope == scope)
    return Want(asker.id, meters, tuple(_asked(meter, asker.estimate) for meter in meters))


def _asked(meter: Meter, estimate: Estimate) -> int:
    match meter.dimension:
        case Dimension.REQUESTS | Dimension.CONCURRENT:
            return 1
        case Dimension.INPUT_TOKENS | Dimension.TOKENS:
            return estimate.input_tokens
        case Dimension.MONEY:
            return estimate.cost_units
        case _:
            return 0


def _used(meter: Meter, exchange: Exchange) -> int:
    match meter.dimension:
        case Dimension.REQUESTS:
            return 0 if exchange.outcome in NOTHING_USED else 1
        case Dimension.INPUT_TOKENS:
            return _input_tokens(exchange)
        case Dimension.OUTPUT_TOKENS:
            return exchange.output_tokens
        case Dimension.TOKENS:
            return _input_tokens(exchange) + exchange.output_tokens
        case Dimension.MONEY:
            return as_units(exchange.cost or exchange.assumed_cost or Decimal(0))
        case _:
            return 0


def _input_tokens(exchange: Exchange) -> int:
    """As the API's own limits count: what is read from the cache is free."""
    return exchange.input_tokens + exchange.cache_write_5m_tokens + exchange.cache_write_1h_tokens
