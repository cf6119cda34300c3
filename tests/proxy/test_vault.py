"""Which credential a request goes to: `proxy.vault`, `proxy.eligibility`."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from accounts.facts import ClientKeyFacts, CredentialFacts, DomainFacts
from accounts.ids import new_id
from proxy import wire
from proxy.eligibility import Wanted
from proxy.errors import CredentialsResting, NoCredential
from proxy.vault import Choice, Vault, wanted
from telemetry.credentials.board import Board
from telemetry.credentials.conf import CircuitConf, CoolingConf
from telemetry.record.exchange import Kind

pytestmark = pytest.mark.anyio


@pytest.fixture
def board() -> Board:
    return Board(CircuitConf(), CoolingConf())


def choice(name: str, **fields: Any) -> Choice:
    credential = CredentialFacts(new_id(), name, False, f"sk-ant-api03-fake-{name}", **fields)
    return Choice("domain", credential, key=str(credential.id))


async def names(board: Board, pool: list[Choice], asked: Wanted | None = None) -> list[str]:
    return [each.name for each in await Vault("", board).order(pool, asked or Wanted(session="s", family="haiku"))]


def hear(board: Board, each: Choice, status: int, *headers: tuple[bytes, bytes], now: float = 0) -> None:
    import time

    at = now or time.time()
    board.answered(each.key, "haiku", status, list(headers), at, board.begin(each.key, "haiku", at))


def left(percent: int) -> tuple[tuple[bytes, bytes], ...]:
    name = b"anthropic-ratelimit-requests"
    return (name + b"-limit", b"100"), (name + b"-remaining", str(percent).encode())


async def test_priority_then_standby(board: Board) -> None:
    pool = [choice("spare", is_standby=True), choice("second", priority=1), choice("first")]
    assert await names(board, pool) == ["first", "second", "spare"]


async def test_a_session_stays_where_it_was(board: Board) -> None:
    pool = [choice("a"), choice("b"), choice("c")]
    vault, asked = Vault("", board), Wanted(session="s")
    vault.bind(asked, pool[1], pool)
    assert {(await names(board, pool))[0] for _ in range(30)} == {"b"}
    assert {(await names(board, pool, Wanted(session="other")))[0] for _ in range(60)} == {"a", "b", "c"}


async def test_a_session_comes_back_from_the_standby(board: Board) -> None:
    pool = [choice("main"), choice("spare", is_standby=True)]
    Vault("", board).bind(Wanted(session="s"), pool[1], pool)
    assert await names(board, pool) == ["main", "spare"]


async def test_then_headroom_where_unknown_is_not_zero(board: Board) -> None:
    low, high, unknown = choice("low"), choice("high"), choice("unknown")
    hear(board, low, 200, *left(10))
    hear(board, high, 200, *left(60))
    assert await names(board, [low, high, unknown]) == ["unknown", "high", "low"]


async def test_then_weight(board: Board) -> None:
    pool = [choice("light"), choice("heavy", weight=3)]
    first = Counter([(await names(board, pool, Wanted(session=str(number))))[0] for number in range(2000)])
    assert 1350 < first["heavy"] < 1650


async def test_who_cannot_take_it_is_left_out(board: Board) -> None:
    from datetime import UTC, datetime

    pool = [
        choice("invalid", invalid_since=datetime.now(UTC)),
        choice("opus only", allowed_models=("claude-opus-*",)),
        choice("any"),
    ]
    assert await names(board, pool, Wanted(model="claude-haiku-4-5")) == ["any"]
    assert set(await names(board, pool, Wanted(model="claude-opus-5"))) == {"any", "opus only"}


async def test_what_was_made_with_one_goes_back_to_it(board: Board) -> None:
    pool = [choice("a"), choice("b", is_standby=True)]
    assert await names(board, pool, Wanted(owner=pool[1].key)) == ["b"]


async def test_a_suspect_goes_last(board: Board) -> None:
    import time

    pool = [choice("suspect"), choice("spare", is_standby=True)]
    board.suspect(pool[0].key, time.time())
    assert await names(board, pool) == ["spare", "suspect"]


async def test_nobody_left_says_who_is_in_what_trouble(board: Board) -> None:
    from datetime import UTC, datetime

    cooling, invalid = choice("busy"), choice("gone", invalid_since=datetime.now(UTC))
    hear(board, cooling, 429, (b"retry-after", b"20"))
    with pytest.raises(CredentialsResting) as raised:
        await names(board, [cooling, invalid])
    assert (raised.value.status, raised.value.refused_by) == (429, "credential cooling")
    assert dict(raised.value.headers)[b"retry-after"] in (b"19", b"20")
    assert "“busy” has reached a limit of the API until" in raised.value.message
    assert "“gone” was refused by the API" in raised.value.message
    with pytest.raises(NoCredential, match="gone"):
        await names(board, [invalid])
    for _ in range(5):
        hear(board, opened := choice("open"), 500)
    for _ in range(5):
        hear(board, opened, 500)
    with pytest.raises(CredentialsResting) as open_:
        await names(board, [opened])
    assert (open_.value.status, open_.value.type) == (503, "api_error")


@pytest.mark.parametrize("percent", [0, 5, 50, 100])
async def test_a_replacement_takes_its_share_of_the_sessions(board: Board, percent: int) -> None:
    old = choice("old")
    new = choice("new", replaces_id=old.credential.id if old.credential else None, traffic_percent=percent)
    orders = [await names(board, [old, new], Wanted(session=str(number))) for number in range(1000)]
    share = sum(order[0] == "new" for order in orders) / 10
    assert abs(share - percent) < 8, "which session goes where hangs on a random id: five standard deviations"
    assert {"new" in order for order in orders} == {percent > 0}
    again = [await names(board, [old, new], Wanted(session=str(number))) for number in range(1000)]
    assert [order[0] for order in again] == [order[0] for order in orders]


async def test_a_session_of_a_replaced_one_moves_when_its_share_grows(board: Board) -> None:
    old = choice("old")
    new = choice("new", replaces_id=old.credential.id if old.credential else None, traffic_percent=100)
    Vault("", board).bind(Wanted(session="s"), old, [old, new])
    assert await names(board, [old, new]) == ["new", "old"]


async def test_where_the_replaced_one_is_gone_the_new_one_stands_for_itself(board: Board) -> None:
    assert await names(board, [choice("new", replaces_id=new_id(), traffic_percent=0)]) == ["new"]


def client_key() -> ClientKeyFacts:
    return ClientKeyFacts(new_id(), "key", DomainFacts(new_id(), "a.example.com", True, False), "digest", None, None)


def test_a_conversation_keeps_its_name_while_cache_marks_move() -> None:
    key = client_key()

    def name(content: str, session: str = "") -> str:
        body = f'{{"model": "m", "messages": [{{"role": "user", "content": {content}}}]}}'
        return wanted(wire.read(body.encode(), Kind.INFERENCE), key, session, "", is_pool=True).session

    marked = '[{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]'
    assert name(marked) == name('[{"type": "text", "text": "Hi"}]')
    assert name(marked) != name('[{"type": "text", "text": "Ho"}]')
    assert name(marked, "session") == name('"anything"', "session")
    other = replace(key, id=new_id())
    nothing = wire.NOTHING_ASKED
    assert wanted(nothing, key, "", "", is_pool=True) == wanted(nothing, key, "", "", is_pool=True)
    assert wanted(nothing, key, "", "", is_pool=True).session != wanted(nothing, other, "", "", is_pool=True).session
