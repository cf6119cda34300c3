"""What happens reaches everybody who watches, and of it what they may see."""

import asyncio
import json
from contextlib import ExitStack
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from channels.layers import get_channel_layer

from accounts.facts import Snapshot
from accounts.ids import new_id
from dashboard import live
from dashboard.live import Hub, TooMany, scope_of, write
from telemetry.live import GROUP, MESSAGE, ROWS_MAX, Ticker, tick_of
from telemetry.naming import Names
from telemetry.record.exchange import Outcome
from tests.telemetry.facts import exchange

pytestmark = pytest.mark.anyio
A, B = new_id(), new_id()


def names() -> Names:
    return Names(lambda: Snapshot(1, ""))


TOKENS = {"input_tokens": 3, "cache_read_tokens": 4, "cache_write_5m_tokens": 0, "cache_write_1h_tokens": 0}


def tick(*domains: UUID | None) -> dict[str, Any]:
    facts = TOKENS | {"output_tokens": 5, "cost": Decimal("0.5")}
    return tick_of([exchange(domain_id=domain, **facts) for domain in domains], names())


def test_sums_and_rows_are_of_the_domains_that_one_sees() -> None:
    message = tick(A, A, B, None)
    everything = json.loads(write(message, None) or "")
    assert everything["sums"] == {"requests": 4, "errors": 0, "tokens_in": 28, "tokens_out": 20, "cost": 2.0}
    assert len(everything["rows"]) == 4
    some = json.loads(write(message, scope_of(frozenset({A}))) or "")
    assert some["sums"]["requests"] == 2
    assert {row["domain_id"] for row in some["rows"]} == {str(A)}
    assert write(message, scope_of(frozenset())) is None
    assert str(B) not in str(some)


def test_errors_are_counted_and_nothing_says_what_was_said() -> None:
    failed = exchange(
        outcome=Outcome.BROKEN, model="sk-ant-api03-fake-key-in-a-model-name-0001", error_message="secret words"
    )
    found = tick_of([failed], names())
    assert next(iter(found["sums"].values()))[1] == 1
    assert "secret words" not in str(found)
    assert "fake-key-in-a-model" not in str(found)


def test_rows_are_bounded_and_sums_are_not() -> None:
    found = tick(*[A] * (ROWS_MAX + 30))
    assert len(found["rows"]) == ROWS_MAX
    assert found["sums"][str(A)][0] == ROWS_MAX + 30


async def _until(look: Any) -> None:
    async with asyncio.timeout(5):
        while not look():  # noqa: ASYNC110 (what it looks at has no event)
            await asyncio.sleep(0.005)


async def _watched(hub: Hub, stack: ExitStack, *scopes: live.Scope) -> list[list[str]]:
    heard: list[list[str]] = []
    for scope in scopes:
        into: list[str] = []
        heard.append(into)

        async def tell(text: str, into: list[str] = into) -> None:
            into.append(text)

        stack.enter_context(hub.watching(scope, tell, lambda: None))

    async def announced() -> None:  # the subscription is made in a task: until it is, a message goes past it
        while not all(heard):
            await get_channel_layer().group_send(GROUP, {"type": MESSAGE, **tick(A, B)})
            await asyncio.sleep(0.01)

    await asyncio.wait_for(announced(), 5)
    return heard


async def test_everybody_hears_of_what_ends_in_any_process() -> None:
    hub = Hub()
    with ExitStack() as stack:
        heard = await _watched(hub, stack, None, None, frozenset({str(A)}))
        for texts in heard:
            texts.clear()
        ticker = Ticker(lambda: Snapshot(1, ""))
        running = asyncio.create_task(ticker.run())
        ticker([exchange(domain_id=A), exchange(domain_id=B)])
        await _until(lambda: all(any(str(A) in text for text in texts) for texts in heard))
        running.cancel()
    assert any(str(B) in text for text in heard[0])
    assert not any(str(B) in text for text in heard[2])


async def test_who_takes_nothing_is_let_go_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "TELL_SECONDS", 0.05)
    hub, lost = Hub(), []

    async def hang(text: str) -> None:
        await asyncio.Event().wait()

    with ExitStack() as stack:
        stack.enter_context(hub.watching(None, hang, lambda: lost.append(1)))
        await _watched(hub, stack, None)
        assert lost == [1]


async def test_there_are_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "WATCHERS_MAX", 2)
    hub = Hub()

    async def tell(text: str) -> None:
        pass

    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(hub.watching(None, tell, lambda: None))
        with pytest.raises(TooMany), hub.watching(None, tell, lambda: None):
            pass
    with hub.watching(None, tell, lambda: None):
        pass
