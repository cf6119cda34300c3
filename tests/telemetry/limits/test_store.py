"""Both stores against a simple model, over random schedules with a clock of their own."""

import asyncio

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from telemetry.limits.memory import MemoryStore
from telemetry.limits.shared import SharedStore
from tests.telemetry.limits.model import Model
from tests.telemetry.limits.schedules import LEASE_ENDS, PLACES_ARE_TAKEN, Step, play, schedules
from tests.telemetry.limits.stores import running

SLOW = [HealthCheck.too_slow]
"""On a machine that has much else to do."""


@settings(max_examples=1000, deadline=None, suppress_health_check=SLOW)
@given(schedules, st.booleans())
@example(LEASE_ENDS, True)
@example(PLACES_ARE_TAKEN, True)
def test_the_store_in_memory_says_what_the_model_says(schedule: list[Step], seeded: bool) -> None:
    model = Model()
    asyncio.run(play(MemoryStore(lambda: model.now_ms), model, schedule, seeded))


@settings(max_examples=300, deadline=None, suppress_health_check=SLOW)
@given(schedules, st.booleans())
@example(LEASE_ENDS, True)
@example(PLACES_ARE_TAKEN, True)
def test_the_store_in_redis_says_what_the_model_says(shared_redis: str, schedule: list[Step], seeded: bool) -> None:
    asyncio.run(_play_in_redis(shared_redis, schedule, seeded))


async def _play_in_redis(url: str, schedule: list[Step], seeded: bool) -> None:
    model = Model()
    async with running(Timed(url, model)) as store:
        await play(store, model, schedule, seeded)


class Timed(SharedStore):
    """By the model's clock."""

    def __init__(self, url: str, model: Model) -> None:
        super().__init__(url)
        self._model = model

    @property
    def now_ms(self) -> int:
        return self._model.now_ms

    @now_ms.setter
    def now_ms(self, now_ms: int) -> None: ...
