"""Lets requests in, as far as limits and budgets admit, and settles what they really used when they end."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from accounts.facts import ClientKeyFacts, Snapshot
from accounts.ids import new_id
from proxy.admission import Admission, Asker, want
from proxy.errors import LimitReached
from proxy.refusals import check_size, refusal, too_large, unknown
from proxy.waiting import Say, WaitingRoom
from telemetry.limits.conf import LimitsConf
from telemetry.limits.plan import Plan, Plans, pays
from telemetry.limits.seeding import Seeding
from telemetry.limits.store import Denied, Granted, Store, Unknown, Want
from telemetry.record.exchange import Exchange

logger = logging.getLogger(__name__)

RENEW_SECONDS = 8.0
"""Three times within a lease (`LEASE_MS`)."""


class Limiter:
    def __init__(
        self,
        conf: LimitsConf,
        snapshot: Callable[[], Snapshot],
        store: Store,
        seeding: Seeding,
        room: WaitingRoom,
    ) -> None:
        self._plans = Plans(conf)
        self._snapshot = snapshot
        self._store = store
        self._seeding = seeding
        self._room = room
        self._running: dict[UUID, Want] = {}

    async def admit(self, asker: Asker, say: Say | None = None) -> Admission:
        """At once, or after a wait where the client key may wait; *say* tells the client now and then that it waits.
        Raises LimitReached, BudgetSpent, Forbidden, or Stopping."""
        plan = self._plan(asker, now := datetime.now(UTC))
        if plan.max_request is not None:
            check_size(plan.max_request, asker)
        wanted = want(asker, plan, now)
        if asker.must_fit and asker.estimate.cost_units:
            await self._check_fit(wanted)
        if (reached := self._room.ahead(wanted, asker)) is None:
            try:
                return await self._reserve(wanted)
            except LimitReached as raised:
                reached = raised
        # An operator may change limits while somebody waits for them.
        return await self._room.wait(
            asker, wanted, reached, lambda: self._reserve(want(asker, self._plan(asker, now), now)), say
        )

    def _plan(self, asker: Asker, now: datetime) -> Plan:
        return self._plans.of(self._snapshot(), asker.key, asker.credential_id, asker.model, now)

    def stop_waiting(self) -> None:
        """Who waits is refused at once: the process is being stopped."""
        self._room.stop()

    async def _reserve(self, wanted: Want) -> Admission:
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
            raise refusal(wanted.meters[reply.index], reply)
        raise unknown(reply.meters[0])

    def running(self) -> list[Want]:
        """What holds places and money now."""
        return list(self._running.values())

    def counts_money(self, key: ClientKeyFacts) -> bool:
        return any(pays(budget, key) for budget in self._snapshot().budgets)

    async def _check_fit(self, wanted: Want) -> None:
        """Two that come at the same moment may both fit. Raises BudgetSpent."""
        money = {meter: amount for meter, amount in zip(wanted.meters, wanted.amounts, strict=True) if meter.account}
        uses = await self._store.read(list(money))
        if unsaid := [use.meter for use in uses if not use.is_known]:
            await self._seeding.seed(unsaid)
            uses = await self._store.read(list(money))
        for use in uses:
            if use.used + money[use.meter] > use.meter.limit:
                raise too_large(use, money[use.meter])

    async def pass_on(self, admission: Admission, asker: Asker) -> None:
        """Another credential takes the request over: its limits count it too. Raises LimitReached."""
        wanted = want(asker, self._plan(asker, now := datetime.now(UTC)), now, "credential")
        wanted = msgspec.structs.replace(wanted, id=new_id())  # it holds places beside the first, not instead
        last = admission
        while last.further is not None:
            last = last.further
        if wanted.meters or any(meter.scope == "credential" for meter in last.want.meters):
            last.further = await self._reserve(wanted)

    def settle(self, admission: Admission, exchange: Exchange) -> None:
        for settlement in admission.settlements(exchange):
            self._running.pop(settlement.want.id, None)
            self._store.settle(settlement)
            self._room.something_ended(settlement.want)

    async def keep_leases(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self._store.renew(self.running())
            except Exception:  # whatever it is: leases that end would let too many in
                logger.exception("the leases of running requests could not be renewed")
