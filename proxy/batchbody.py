"""What a body says that is no messages request: which models it names, and what a message batch may cost. It is read
only for keys to which that matters; all others' bodies pass through as they arrive."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from proxy.errors import InvalidRequest
from proxy.estimates import NOTHING, Estimate, NoEstimate, most
from proxy.wire import NOTHING_ASKED
from telemetry.money.pricing import ONE, PriceList

PATH = "/v1/messages/batches"
_EMPTY = msgspec.Raw(b"null")


class _Params(msgspec.Struct, gc=False):
    model: str = ""
    max_tokens: int = 0


class _Request(msgspec.Struct, gc=False):
    params: msgspec.Raw = _EMPTY


class _Batch(msgspec.Struct):
    requests: list[_Request]


class _Any(msgspec.Struct):
    model: msgspec.Raw = _EMPTY


class Errand(msgspec.Struct, frozen=True):
    """What a request asks for that is no messages request."""

    models: frozenset[str] = frozenset()
    estimate: Estimate = NOTHING


_batch = msgspec.json.Decoder(_Batch)
_params = msgspec.json.Decoder(_Params)
_any = msgspec.json.Decoder(_Any)


def read(path: str, body: bytes, prices: PriceList) -> Errand:
    """Raises InvalidRequest for a batch of which Nexus cannot tell what it asks for."""
    if path != PATH:
        return Errand(models=_named(body))
    try:
        asked = [(bytes(each.params), _params.decode(each.params)) for each in _batch.decode(body).requests]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The request body is not a message batch: {error}.") from None
    units = sum(_units(params, raw, prices) for raw, params in asked)
    return Errand(frozenset(params.model for _, params in asked), NoEstimate(units))


def _units(params: _Params, raw: bytes, prices: PriceList) -> int:
    ask = msgspec.structs.replace(NOTHING_ASKED, model=params.model, max_tokens=params.max_tokens)
    now = datetime.now(UTC)
    price = prices.price(params.model, now) or prices.dearest(params.model, now)
    factor = price.batch_factor if price else ONE
    return math.ceil(most(ask, raw, prices) * factor)


def _named(body: bytes) -> frozenset[str]:
    """The `model` of an object; what is no JSON object names none."""
    try:
        model = msgspec.json.decode(_any.decode(body).model)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return frozenset()
    names: Iterable[object] = [model] if isinstance(model, str) else model.values() if isinstance(model, dict) else []
    return frozenset(name for name in names if isinstance(name, str))
