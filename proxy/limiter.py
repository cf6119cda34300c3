"""Lets requests in, as far as limits and budgets admit, and settles what they really used when they end."""

import asyncio
import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from accounts.facts import BudgetFacts, ClientKeyFacts, Snapshot
from proxy.admission import Admission, Asker, want
from proxy.errors import BudgetSpent, Forbidden, LimitReached
from telemetry.limits.conf import LimitsConf
from telemetry.limits.meters import Dimension, Meter, as_usd
from telemetry.limits.plan import Plans, pays
from telemetry.limits.seeding import Seeding
from telemetry.limits.store import Denied, Granted, Store, Unknown, Use, Want
from telemetry.record.exchange import Exchange

logger = logging.getLogger(__name__)

RENEW_SECONDS = 8.0
"""Three times within a lease (`LEASE_MS`)."""


class Limiter:
    def __init__(self, conf: LimitsConf, snapshot: Callable[[], Snapshot], store: Store, seeding: Seeding) -> None:
        self._plans = Plans(conf)
        self._snapshot = snapshot
        self._store = store
        self._seeding = seeding
        self._running: dict[UUID, Want] = {}

    async def admit(self, asker: Asker) -> Admission:
        """Raises LimitReached or BudgetSpent."""
        plan = self._plans.of(self._snapshot(), asker.key, asker.credential_id, asker.model, now := datetime.now(UTC))
        if plan.max_request is not None:
            _check_size(plan.max_request, asker)
        wanted = want(asker, plan, now)
        if asker.must_fit and asker.estimate.cost_units:
            await self._check_fit(wanted)
        reply = await self._store.reserve(wanted)
        if isinstance(reply, Unknown):
            await self._seeding.seed(reply.meters)
            reply = await self._store.reserve(wanted)
        if isinstance(reply, Granted):
            self._running[wanted.id] = wanted
            for meter in wanted.meters:
                if meter.account is not None:
                    self._seeding.saw(meter)
            return Admission(wanted, reply)
        if isinstance(reply, Denied):
            raise _refusal(wanted.meters[reply.index], reply)
        raise _unknown(reply.meters[0])

    def running(self) -> list[Want]:
        """What holds places and money now."""
        return list(self._running.values())

    def counts_money(self, key: ClientKeyFacts) -> bool:
        return any(pays(budget, key) for budget in self._snapshot().budgets)

    async def _check_fit(self, wanted: Want) -> None:
        """Two that come at the same moment may both fit. Raises BudgetSpent."""
        money = {meter: amount for meter, amount in zip(wanted.meters, wanted.amounts, strict=True) if meter.account}
        for use in await self._store.read(list(money)):
            if use.is_known and use.used + money[use.meter] > use.meter.limit:
                raise _too_large(use, money[use.meter])

    def settle(self, admission: Admission, exchange: Exchange) -> None:
        self._running.pop(admission.want.id, None)
        self._store.settle(admission.settlement(exchange))

    async def keep_leases(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self._store.renew(self.running())
            except Exception:  # whatever it is: leases that end would let too many in
                logger.exception("the leases of running requests could not be renewed")


def _check_size(budget: BudgetFacts, asker: Asker) -> None:
    most, allowed = as_usd(asker.estimate.cost_units), budget.max_request_usd
    if allowed is not None and most > allowed:
        raise Forbidden(
            f"This request may cost up to ${most:,.2f}, and the budget “{budget.name}” lets in none that may cost more "
            f"than ${allowed:,.2f}. Lower max_tokens, or send less.",
            f"budget {budget.name} largest request",
        )


def _refusal(meter: Meter, denied: Denied) -> LimitReached | BudgetSpent:
    if meter.dimension is Dimension.MONEY:
        return _of_money(meter, denied)
    seconds = max(1, math.ceil(denied.frees_in_ms / 1000))
    words, models = meter.dimension.words, f" for {meter.model_pattern}" if meter.model_pattern else ""
    if meter.dimension is Dimension.CONCURRENT:
        said = f"{meter.limit:,} {words}{models} at the same time, and {denied.used:,} are running"
    else:
        said = f"{meter.limit:,} {words}{models} {meter.per}, and {denied.used:,} are used"
    return LimitReached(
        f"A limit of Nexus is reached: {meter.label} may use {said}. There is room again in {_span(seconds)}.",
        meter.name,
        seconds,
    )


def _of_money(meter: Meter, denied: Denied) -> LimitReached | BudgetSpent:
    spent, amount = as_usd(denied.used - denied.held), as_usd(meter.limit)
    if denied.used - denied.held < meter.limit:
        return LimitReached(
            f"The budget “{meter.label}” of ${amount:,.2f} is nearly spent, and requests that are running may use what "
            f"is left. Try again in a moment.",
            meter.name,
            max(1, math.ceil(denied.frees_in_ms / 1000)),
        )
    ends_at = meter.account.ends_at if meter.account else None
    until = f"It begins anew at {ends_at:%Y-%m-%d %H:%M} UTC" if ends_at else "It does not begin anew"
    seconds = None if ends_at is None else max(1, math.ceil((ends_at - datetime.now(UTC)).total_seconds()))
    return BudgetSpent(
        f"The budget “{meter.label}” of ${amount:,.2f} is spent (${spent:,.2f}). {until}; an operator of Nexus can "
        "raise it in the admin under Budgets.",
        meter.name,
        seconds,
    )


def _too_large(use: Use, amount: int) -> BudgetSpent:
    left = max(0, use.meter.limit - use.used)
    return BudgetSpent(
        f"This message batch may cost up to ${as_usd(amount):,.2f}, and of the budget “{use.meter.label}” "
        f"${as_usd(left):,.2f} are left. Make it smaller, or lower max_tokens.",
        use.meter.name,
        None,
    )


def _unknown(meter: Meter) -> LimitReached:
    return LimitReached(
        f"What is spent of the budget “{meter.label}” is not known at the moment. Try again in a moment.", meter.name, 2
    )


def _span(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
