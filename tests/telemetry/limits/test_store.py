"""Both stores against a simple model, over random schedules with a clock of their own."""

import asyncio

from hypothesis import example, given, settings
from hypothesis import strategies as st

from telemetry.limits.memory import MemoryStore
from tests.telemetry.limits.model import Model
from tests.telemetry.limits.schedules import LEASE_ENDS, Step, play, schedules


@settings(max_examples=1000, deadline=None)
@given(schedules, st.booleans())
@example(LEASE_ENDS, True)
def test_the_store_in_memory_says_what_the_model_says(schedule: list[Step], seeded: bool) -> None:
    model = Model()
    asyncio.run(play(MemoryStore(lambda: model.now_ms), model, schedule, seeded))
