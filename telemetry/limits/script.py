"""The operations of `reserve.lua`: how they are written, and how its answers are read."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from telemetry.limits.meters import Dimension, Meter
from telemetry.limits.store import Denied, Granted, Reply, Settlement, Unknown, Use, Want

SOURCE = Path(__file__).with_name("reserve.lua").read_text()
SHA = hashlib.sha1(SOURCE.encode(), usedforsecurity=False).hexdigest()
PREFIX = "nexus:limits:"
"""In one Redis; a sharded Redis Cluster is not supported, since all meters of a request are changed together."""
RESERVE, SETTLE, RENEW, PUSH, RECENT, SEED, READ, CLAIM = range(1, 9)
REQUESTS, TOKENS, PLACES, MONEY = range(1, 5)
_KINDS = {Dimension.REQUESTS: REQUESTS, Dimension.CONCURRENT: PLACES, Dimension.MONEY: MONEY}

Operation = tuple[Any, ...]
_encoder = msgspec.msgpack.Encoder()


class Answers(NamedTuple):
    now_ms: int
    epoch: bytes
    """Another one: Redis has lost what it knew."""
    each: list[Any]


def encode(operations: Sequence[Operation], now_ms: int = 0) -> bytes:
    return _encoder.encode((now_ms, operations))


def reserve(want: Want) -> Operation:
    """Money goes as text: a Lua number could not hold it to the last unit."""
    meters = [
        (
            meter.key,
            kind := _kind(meter),
            meter.limit,
            str(amount) if kind == MONEY else amount,
            meter.slot_ms,
            meter.is_lazy,
        )
        for meter, amount in zip(want.meters, want.amounts, strict=True)
    ]
    return (RESERVE, want.id.hex, meters)


def settle(settlement: Settlement) -> Operation:
    want = settlement.want
    meters: list[Operation] = []
    for meter, asked, used in zip(want.meters, want.amounts, settlement.used, strict=True):
        kind = _kind(meter)
        if kind == MONEY:
            meters.append((meter.key, kind, str(asked), str(used), meter.is_lazy))
        elif kind == PLACES:
            meters.append((meter.key, kind, 0, 0, 0))
        elif used != asked:
            slot = settlement.granted_at_ms // meter.slot_ms
            meters.append((meter.key, kind, used - asked, slot, meter.slot_ms))
    return (SETTLE, want.id.hex, meters)


def undo(operation: Operation, now_ms: int) -> Operation:
    """Of a reservation that was granted and is not wanted any more."""
    _, request_id, meters = operation
    undone: list[Operation] = []
    for key, kind, _, amount, slot_ms, is_lazy in meters:
        if kind == MONEY:
            undone.append((key, kind, amount, "0", is_lazy))
        elif kind == PLACES:
            undone.append((key, kind, 0, 0, 0))
        elif amount:
            undone.append((key, kind, -amount, now_ms // slot_ms, slot_ms))
    return (SETTLE, request_id, undone)


def renew(want: Want) -> Operation:
    pairs = zip(want.meters, want.amounts, strict=True)
    held = [(meter.key, _kind(meter), str(amount)) for meter, amount in pairs if not meter.is_window]
    return (RENEW, want.id.hex, held)


def push(meter: Meter, exchange_id: UUID, cost: int) -> Operation:
    return (PUSH, meter.key, exchange_id.hex, str(cost))


def read(meter: Meter) -> Operation:
    return (READ, (meter.key, _kind(meter), meter.limit, 0, meter.slot_ms, meter.is_lazy))


def reply_of(want: Want, answer: list[Any], now_ms: int) -> tuple[Reply, list[Meter]]:
    """What was said, and the lazy meters that begin with it."""
    match answer:
        case [0, used, unverified]:
            reply: Reply = Granted(
                now_ms, tuple(each if isinstance(each, int) else sum(map(int, each)) for each in used)
            )
        case [1, index, taken, on_lease, frees_in_ms, unverified]:
            used, held = _full(want.meters[index - 1], taken, on_lease)
            reply = Denied(now_ms, index - 1, used, held, frees_in_ms)
        case [_, unknown, unverified]:
            reply = Unknown(_named(want, unknown))
        case _:
            raise ValueError("reserve.lua said something unheard of")
    return reply, list(_named(want, unverified))


def use_of(meter: Meter, answer: list[Any]) -> Use:
    taken, on_lease, frees_in_ms, is_known = answer
    used, held = _full(meter, taken, on_lease)
    return Use(meter, used, held, frees_in_ms, bool(is_known))


def spent_of(want: Want, answer: list[Any]) -> dict[str, int]:
    """Of each budget what is spent, without what is held, where a reservation said it."""
    if answer[0] == 0:
        pairs = zip(want.meters, answer[1], strict=True)
        return {meter.key: int(purse[0]) for meter, purse in pairs if meter.account is not None}
    if answer[0] == 1 and (meter := want.meters[answer[1] - 1]).account is not None:
        return {meter.key: int(answer[2])}
    return {}


class Recent(NamedTuple):
    """Exchanges that were settled lately, and from which bucket of time on."""

    oldest_bucket: int
    costs: dict[UUID, int]


def recent_of(answer: list[Any]) -> Recent:
    costs: dict[UUID, int] = {}
    for _, pairs in answer:
        found = iter(pairs)
        costs.update((UUID(key.decode()), int(cost)) for key, cost in zip(found, found, strict=True) if key != b"sum")
    return Recent(answer[0][0], costs)


def _full(meter: Meter, taken: Any, on_lease: Any) -> tuple[int, int]:
    """What is used, and how much of it runs. Money comes in two parts, as text."""
    return (taken, on_lease) if meter.account is None else (int(taken) + int(on_lease), int(on_lease))


def _kind(meter: Meter) -> int:
    return _KINDS.get(meter.dimension, TOKENS)


def _named(want: Want, indexes: Iterable[int]) -> tuple[Meter, ...]:
    return tuple(want.meters[index - 1] for index in indexes)
