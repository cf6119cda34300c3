"""Splits a request body into the parts that many requests share, and puts it together again byte for byte.

An agent resends its whole history every turn. Each message, each block of the system prompt and the list of tools is
a piece, known by its hash; what stands between them is kept literally. Nothing is re-encoded: pieces are slices.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

import msgspec

MIN_PIECE_BYTES = 128
"""What is shorter costs less as part of the layout than as a row of its own."""
PIECE_ID_BYTES = 16


class MissingPiece(LookupError):
    """A body refers to a piece that is not in the record any more."""


class _Body(msgspec.Struct):
    messages: msgspec.Raw = msgspec.Raw()
    system: msgspec.Raw = msgspec.Raw()
    tools: msgspec.Raw = msgspec.Raw()


_body = msgspec.json.Decoder(_Body)
_list = msgspec.json.Decoder(list[msgspec.Raw])
_layout = msgspec.msgpack.Decoder(list[bytes])


@dataclass(frozen=True, slots=True)
class Split:
    """A body as literals and pieces in turn: a literal first and last, either may be empty."""

    literals: list[bytes]
    pieces: list[bytes]

    def layout(self, ids: Iterable[UUID]) -> bytes:
        """The body with ids in the place of its pieces."""
        parts = [self.literals[0]]
        for piece_id, literal in zip(ids, self.literals[1:], strict=True):
            parts += (piece_id.bytes, literal)
        return msgspec.msgpack.encode(parts)


def piece_id(domain_id: UUID, piece: bytes) -> UUID:
    """The same bytes have the same id within a domain, and tell nothing in another."""
    return UUID(bytes=hashlib.blake2b(piece, digest_size=PIECE_ID_BYTES, key=domain_id.bytes).digest())


def split(body: bytes) -> Split:
    """Any body can be split; one that is not a messages request is a single literal."""
    literals, found = [], []
    end = 0
    for start, piece in _found(body):
        literals.append(body[end:start])
        found.append(piece)
        end = start + len(piece)
    literals.append(body[end:])
    return Split(literals, found)


def references(layout: bytes) -> list[UUID]:
    return [UUID(bytes=part) for part in _layout.decode(layout)[1::2]]


def join(layout: bytes, pieces: Mapping[UUID, bytes]) -> bytes:
    """Raises MissingPiece."""
    parts = _layout.decode(layout)
    try:
        parts[1::2] = [pieces[UUID(bytes=part)] for part in parts[1::2]]
    except KeyError as missing:
        raise MissingPiece(f"The piece {missing.args[0]} of this body is gone.") from None
    return b"".join(parts)


def _found(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Where the pieces are, in order and apart. A slice is looked up by its bytes: an equal run of bytes that stands
    earlier serves as well, since only the bytes count."""
    end = 0
    for value, parts in _values_in_order(body):
        start = body.find(value, end)
        if start < 0:
            continue  # its bytes were found inside an earlier piece
        end = start
        for piece in parts:
            if len(piece) < MIN_PIECE_BYTES:
                continue
            at = body.find(piece, end)
            yield at, piece
            end = at + len(piece)


def _values_in_order(body: bytes) -> list[tuple[bytes, list[bytes]]]:
    """The values that are shared, each with its parts. Messages and blocks of the system prompt change one by one, a
    list of tools as a whole."""
    try:
        fields = _body.decode(body)
        messages, system, tools = bytes(fields.messages), bytes(fields.system), bytes(fields.tools)
        values = [(messages, _elements(messages)), (system, _elements(system)), (tools, [tools])]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    return sorted(((value, parts) for value, parts in values if value), key=lambda found: body.find(found[0]))


def _elements(value: bytes) -> list[bytes]:
    return [bytes(raw) for raw in _list.decode(value)] if value.startswith(b"[") else [value]
