"""The load generator against the stand-ins: what it counts is what happened."""

from collections.abc import Iterator

import pytest
import uvloop

from bench import load, serving
from bench.load import Target, percentile
from bench.standin import Standin, serve_in_thread
from bench.standin.fast import JSON_END, SLOW, STREAM_END, fast

HEADERS = {"x-api-key": "sk-ant-api03-fake-load", "anthropic-version": "2023-06-01"}
PROMPT = b'{"model":"claude-x","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'


@pytest.fixture
def standin() -> Iterator[Standin]:
    with serve_in_thread() as served:
        yield served


@pytest.fixture
def fast_url() -> Iterator[str]:
    with serving.in_thread(fast) as url:
        yield url


def target(standin: Standin, script: str = "", *, stream: bool = False, ending: bytes = b"") -> Target:
    body = PROMPT.replace(b"{", b'{"stream":true,', 1) if stream else PROMPT
    return Target.post(f"{standin.url}/v1/messages", body, HEADERS | {"x-standin": script}, ending)


def test_it_asks_exactly_as_often_as_told(standin: Standin) -> None:
    result = uvloop.run(load.run(target(standin), connections=4, requests=50))
    assert (result.count, result.errors) == (50, 0)
    assert len(result.totals) == len(result.first_bytes) == 50
    assert len(standin.recorder.exchanges) == 50
    assert all(each.body == PROMPT and each.finished for each in standin.recorder.exchanges)
    assert all(first <= total for first, total in zip(result.first_bytes, result.totals, strict=True))


def test_it_stops_when_the_time_is_up(standin: Standin) -> None:
    result = uvloop.run(load.run(target(standin), connections=2, seconds=0.2))
    assert result.count == standin.recorder.stats()["requests"] > 0


def test_it_keeps_to_a_rate(standin: Standin) -> None:
    result = uvloop.run(load.run(target(standin), connections=2, requests=11, rate=50))
    assert result.seconds >= 0.2 - 0.001, "the event loop's timers are exact to a millisecond"


def test_it_reads_chunked_and_sized_answers(standin: Standin) -> None:
    chunked = uvloop.run(load.run(target(standin, ending=b"}"), connections=1, requests=3))
    sized = uvloop.run(load.run(target(standin, "status=404", ending=b"}"), connections=1, requests=3))
    assert (chunked.statuses, sized.statuses) == ({200: 3}, {404: 3})


def test_it_counts_refusals(standin: Standin) -> None:
    result = uvloop.run(load.run(target(standin, "status=529; times=3"), requests=10))
    assert result.statuses == {529: 3, 200: 7}
    assert (result.errors, len(result.totals)) == (3, 7)


def test_it_counts_broken_streams_and_goes_on(standin: Standin) -> None:
    dying = target(standin, "die_at=2; times=2", stream=True)
    result = uvloop.run(load.run(dying, connections=1, requests=5))
    assert (result.broken, result.statuses) == (2, {200: 3})


def test_it_counts_answers_that_end_too_early(standin: Standin) -> None:
    cut = target(standin, "error_at=1", stream=True, ending=STREAM_END)
    assert uvloop.run(load.run(cut, connections=1, requests=2)).cut_short == 2


def test_it_counts_a_server_that_is_not_there() -> None:
    with serving.in_thread(fast) as url:
        pass
    result = uvloop.run(load.run(Target.post(f"{url}/v1/messages", b"{}", {}), connections=2, requests=4))
    assert (result.broken, result.errors) == (4, 4)


def test_the_fast_stand_in_answers_whole_and_in_streams(fast_url: str) -> None:
    whole = Target.post(f"{fast_url}/v1/messages", b"{}", {}, JSON_END)
    streamed = Target.post(f"{fast_url}/v1/messages", b'{"stream":true}', {}, STREAM_END)
    for each in (whole, streamed):
        result = uvloop.run(load.run(each, connections=4, requests=40))
        assert (result.count, result.errors) == (40, 0)


def test_it_holds_and_cancels_streams(standin: Standin, fast_url: str) -> None:
    async def hold() -> int:
        slow = Target.post(f"{fast_url}/v1/messages", b'{"stream":true}' + SLOW, {})
        streams, result = await load.open_streams(slow, 20)
        for stream in streams:
            stream.abort()
        return result.statuses[200]

    assert uvloop.run(hold()) == 20
    silent = target(standin, "silent_at=1", stream=True)
    result = uvloop.run(load.cancel_streams(silent, 20, connections=5))
    assert (result.count, result.errors) == (20, 0)
    standin.recorder.wait_for(lambda _: standin.recorder.stats()["disconnected"] == 20)


def test_percentiles_are_by_nearest_rank() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert (percentile(values, 50), percentile(values, 99), percentile([7.0], 99)) == (50, 99, 7)
