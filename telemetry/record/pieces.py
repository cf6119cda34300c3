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
PROBE_BYTES = 48
PROBES = 50


class MissingPiece(LookupError):
    """A body refers to a piece that is not in the record any more."""


class Parts(msgspec.Struct, frozen=True):
    """What of a messages request is shared with others; empty for any other body."""

    messages: list[msgspec.Raw] = []
    system: msgspec.Raw = msgspec.Raw()
    tools: msgspec.Raw = msgspec.Raw()


class _Loose(msgspec.Struct):
    messages: msgspec.Raw = msgspec.Raw()
    system: msgspec.Raw = msgspec.Raw()
    tools: msgspec.Raw = msgspec.Raw()


_parts = msgspec.json.Decoder(Parts)
_loose = msgspec.json.Decoder(_Loose)
_list = msgspec.json.Decoder(list[msgspec.Raw])
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
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


def parts_of(body: bytes) -> Parts:
    try:
        return _parts.decode(body)
    except msgspec.ValidationError:
        return _parts_of_odd(body)
    except _UNREADABLE:
        return Parts()


def _parts_of_odd(body: bytes) -> Parts:
    """`messages` is not a list, or the body is not an object."""
    try:
        found = _loose.decode(body)
    except _UNREADABLE:
        return Parts()
    return Parts([found.messages], found.system, found.tools)


def split(body: bytes, parts: Parts | None = None) -> Split:
    """Any body can be split; one that is not a messages request is a single literal."""
    literals, found = [], []
    end = 0
    for start, piece in _found(body, parts or parts_of(body)):
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


def _found(body: bytes, parts: Parts) -> Iterator[tuple[int, bytes]]:
    """Where the pieces are, in order and apart. A slice is looked up by its bytes: an equal run of bytes that stands
    earlier serves as well, since only the bytes count."""
    end = 0
    for pieces in sorted(_fields(parts), key=lambda pieces: _find(body, pieces[0], 0)):
        for piece in pieces:
            start = _find(body, piece, end)
            if start < 0:
                break  # its bytes were found inside an earlier piece; to look for the others could take for ever
            yield start, piece
            end = start + len(piece)


def _find(body: bytes, piece: bytes, start: int) -> int:
    """`body.find(piece, start)`, in a tenth of the time where the piece is near: a search for a long needle begins with
    a study of the needle."""
    probe = piece[:PROBE_BYTES]
    at = start - 1
    for _ in range(PROBES):
        at = body.find(probe, at + 1)
        if at < 0 or body.startswith(piece, at):
            return at
    return body.find(piece, at + 1)


def _fields(parts: Parts) -> list[list[bytes]]:
    """The pieces of each field that has any. Messages and blocks of the system prompt change one by one, a list of
    tools as a whole."""
    system = _list.decode(parts.system) if bytes(memoryview(parts.system)[:1]) == b"[" else [parts.system]
    fields = (
        [bytes(raw) for raw in raws if len(memoryview(raw)) >= MIN_PIECE_BYTES]
        for raws in (parts.messages, system, [parts.tools])
    )
    return [pieces for pieces in fields if pieces]
