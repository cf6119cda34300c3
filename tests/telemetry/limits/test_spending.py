"""What the record says was spent, and counters that follow it."""

import asyncio
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async

from accounts.ids import first_id_at, new_id
from telemetry.limits import seeding, spending
from telemetry.limits.memory import MemoryStore
from telemetry.limits.meters import Account, Dimension, Meter
from telemetry.limits.seeding import Seeding
from telemetry.limits.spending import seed_of, spent
from telemetry.limits.store import Granted, Settlement, Unknown, Want
from telemetry.models import ExchangeRow, HourMark
from telemetry.money.rollups import make_final, roll_up
from telemetry.record.exchange import Pricing
from telemetry.record.store import store
from tests.telemetry.facts import closed

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)
ADA, BOB = uuid4(), uuid4()
ACME, OTHER = uuid4(), uuid4()
UNITS = 10**10


def stored(at: datetime, cost: str | None, assumed: str | None = None, **facts: Any) -> UUID:
    exchange_id = UUID(int=first_id_at(at).int | random.getrandbits(60))
    pricing = Pricing.UNPRICED if cost is None else Pricing.PRICED
    values = {"domain_id": ACME, "client_key_id": ADA} | facts
    money: dict[str, Any] = {"cost": cost and Decimal(cost), "assumed_cost": assumed and Decimal(assumed)}
    store([closed(id=exchange_id, started_at=at, pricing=pricing, **values, **money)])
    return exchange_id


def account(**whose: Any) -> Account:
    return Account(
        budget_id=uuid4(), starts_at=NOON.replace(day=1, hour=0), ends_at=NOON.replace(month=12, day=1), **whose
    )


def test_it_counts_what_belongs_to_the_account_whether_it_is_summed_or_not() -> None:
    for hours, (domain, key) in enumerate([(ACME, ADA), (ACME, BOB), (OTHER, ADA), (ACME, ADA)]):
        stored(NOON + timedelta(hours=hours), "1", domain_id=domain, client_key_id=key)
    wanted = {"domain_id": ACME, "client_key_id": ADA}
    for _ in range(2):
        assert spent(account()) == 4 * UNITS
        assert spent(account(domain_id=ACME)) == 3 * UNITS
        assert spent(account(client_key_id=ADA)) == 3 * UNITS
        assert spent(account(**wanted)) == 2 * UNITS
        roll_up(at_once=True)
        assert not HourMark.objects.exists()
    stored(NOON, "0.5")
    assert spent(account(**wanted)) == 2 * UNITS + UNITS // 2


def test_a_period_begins_and_ends_to_the_moment() -> None:
    start = NOON + timedelta(minutes=30)
    for at in (start - timedelta(milliseconds=1), start, start + timedelta(days=1)):
        stored(at, "1")
    total = Account(budget_id=uuid4(), domain_id=ACME, starts_at=start, ends_at=None)
    day = Account(
        budget_id=uuid4(), domain_id=ACME, starts_at=NOON.replace(hour=0), ends_at=NOON.replace(day=11, hour=0)
    )
    for _ in range(2):
        assert spent(total) == 2 * UNITS
        assert spent(day) == 2 * UNITS
        roll_up(at_once=True)


def test_what_has_no_price_counts_as_it_is_assumed_until_it_has_one() -> None:
    stored(NOON, None, "2")
    row_id = stored(NOON, "0", "3")
    assert spent(account()) == 5 * UNITS
    ExchangeRow.objects.filter(id=row_id).update(cost=Decimal(1))
    assert spent(account()) == 3 * UNITS


def test_what_retention_deleted_still_counts() -> None:
    row_id = stored(NOON, "1")
    stored(NOON, "2")
    roll_up(at_once=True)
    make_final([(row_id, ACME)])
    ExchangeRow.objects.filter(id=row_id).delete()
    assert spent(account(domain_id=ACME)) == 3 * UNITS
    assert spent(account()) == 3 * UNITS


def test_users_and_sessions_have_their_own() -> None:
    stored(NOON, "1", user_id="ada", session_id="s1")
    stored(NOON, "2", user_id="ada", session_id="s2")
    stored(NOON, "4", user_id="bob", session_id="s1", domain_id=OTHER)
    roll_up(at_once=True)
    assert spent(account(user_id="ada")) == 3 * UNITS
    assert spent(account(session_id="s1")) == 5 * UNITS
    assert spent(account(session_id="s1", domain_id=OTHER)) == 4 * UNITS


def test_it_agrees_with_a_plain_sum_over_a_random_record() -> None:
    chance = random.Random(5)
    kept: list[tuple[UUID, UUID, datetime, Decimal]] = []
    for _ in range(60):
        at = NOON + timedelta(minutes=chance.randrange(600))
        domain, key, cost = chance.choice([ACME, OTHER]), chance.choice([ADA, BOB]), Decimal(chance.randrange(10**6))
        cost = cost.scaleb(-6)
        stored(at, str(cost), domain_id=domain, client_key_id=key)
        kept.append((domain, key, at, cost))
        if chance.random() < 0.2:
            roll_up(at_once=True)
    for domain_id in (None, ACME, OTHER):
        for key_id in (None, ADA, BOB):
            start = NOON + timedelta(minutes=chance.randrange(300))
            asked = Account(budget_id=uuid4(), domain_id=domain_id, client_key_id=key_id, starts_at=start, ends_at=None)
            expected = sum(
                cost
                for domain, key, at, cost in kept
                if at >= start and domain_id in (None, domain) and key_id in (None, key)
            )
            assert spent(asked) == expected * UNITS


# --- Counters ---------------------------------------------------------------------------------------------------------


def money() -> Meter:
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    whose: dict[str, Any] = {"budget_id": uuid4(), "starts_at": start, "ends_at": start + timedelta(days=1)}
    return Meter(
        key=str(uuid4()), dimension=Dimension.MONEY, limit=10**15, scope="all", label="Trial", account=Account(**whose)
    )


def test_what_is_stored_and_recent_counts_once() -> None:
    meter = money()
    both = stored(datetime.now(UTC), "1")
    waiting = new_id()

    def recent() -> Mapping[UUID, int]:
        return {both: UNITS, waiting: 5}

    seed = seed_of(meter, recent)
    assert (seed.spent, seed.included) == (UNITS, frozenset({both}))


@pytest.mark.anyio
async def test_a_counter_that_is_seeded_again_and_again_under_load_ends_at_what_the_record_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exchanges are settled, and stored a little later, while the record is asked all the time."""
    monkeypatch.setattr(seeding, "SETTLE_SECONDS", 0.01)
    limits = MemoryStore()
    meter = money()
    seeds = Seeding(limits)
    chance = random.Random(7)

    async def one() -> None:
        want = Want(new_id(), (meter,), (100,))
        reply = await limits.reserve(want)
        while isinstance(reply, Unknown):
            await seeds.seed(reply.meters)
            reply = await limits.reserve(want)
        assert isinstance(reply, Granted)
        limits.settle(Settlement(want, reply.at_ms, (7,)))
        await asyncio.sleep(chance.random() / 20)
        fact = closed(id=want.id, started_at=datetime.now(UTC), cost=Decimal(7).scaleb(-10), pricing=Pricing.PRICED)
        await sync_to_async(store)([fact])

    async def verify() -> None:
        while True:
            await seeds._verify(meter)

    verifying = asyncio.create_task(verify())
    for _ in range(10):
        await asyncio.gather(*(one() for _ in range(10)))
    verifying.cancel()
    await asyncio.gather(verifying, return_exceptions=True)
    (use,) = await limits.read([meter])
    assert meter.account is not None
    assert use.used == 700 == await sync_to_async(spending.spent)(meter.account)
