import asyncio

import pytest

from proxy.errors import BodyTooLarge, BodyTooSlow, ClientGone
from proxy.intake import Intake
from tests.drive import ScriptedClient, part

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("parts", [[b"abcdef"], [b"abc", b"def"], [b"", b"abcdef", b""]])
async def test_it_reads_a_body_up_to_the_limit(parts: list[bytes]) -> None:
    client = ScriptedClient(*(part(each, more=True) for each in parts), part(b""))
    intake = Intake(client.receive, 5)
    assert await intake.read(6, None) == b"abcdef"
    assert intake.received_bytes == 6
    await intake.aclose()


@pytest.mark.parametrize("declared", [None, 6])
async def test_it_stops_one_byte_beyond_the_limit(declared: int | None) -> None:
    client = ScriptedClient(part(b"abc", more=True), part(b"def"))
    intake = Intake(client.receive, 5)
    with pytest.raises(BodyTooLarge):
        await intake.read(5, declared)
    assert intake.received_bytes == (6 if declared is None else 0)
    await intake.discard(100, 1)
    await intake.aclose()


async def test_it_does_not_wait_for_ever() -> None:
    intake = Intake(ScriptedClient(part(b"abc", more=True)).receive, 0.02)
    with pytest.raises(BodyTooSlow, match=r"0\.02 seconds"):
        await intake.read(100, None)
    await intake.aclose()


async def test_a_client_that_leaves_in_its_body_is_gone() -> None:
    client = ScriptedClient(part(b"abc", more=True))
    intake = Intake(client.receive, 5)
    client.leave()
    with pytest.raises(ClientGone):
        await intake.read(100, None)
    assert intake.left
    await intake.aclose()


async def test_a_client_that_leaves_later_cancels_who_serves_it() -> None:
    client = ScriptedClient(part(b"abc"))
    intake = Intake(client.receive, 5)
    await intake.read(100, None)
    asyncio.get_running_loop().call_soon(client.leave)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(10)
    assert intake.left
    await intake.aclose()


async def test_a_client_that_stays_cancels_nobody() -> None:
    client = ScriptedClient(part(b"abc"))
    intake = Intake(client.receive, 5)
    await intake.read(100, None)
    await intake.aclose()
    client.leave()
    await asyncio.sleep(0)
    assert not intake.left


async def test_a_stream_that_another_task_reads_tells_what_stopped_it() -> None:
    intake = Intake(ScriptedClient(part(b"abc", more=True), part(b"def")).receive, 5)

    async def read() -> None:
        async for _ in intake.stream(5, None):
            pass

    with pytest.raises(BodyTooLarge):
        await asyncio.create_task(read())
    assert isinstance(intake.error, BodyTooLarge)
    await intake.aclose()
