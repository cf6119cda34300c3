"""What processes tell one another of credentials, and what a process keeps over a restart. No Django."""

import msgspec

from telemetry.credentials.circuit import Opening
from telemetry.credentials.headroom import Window


class Cooling(msgspec.Struct, frozen=True):
    """The API said 429 to a credential, for a family of models."""

    since: float
    """Seconds since 1970, here and below."""
    until: float
    said_at: float
    in_a_row: int = 1
    message: str = ""


class Limits(msgspec.Struct, frozen=True):
    """What the API said last of its limits, to a credential and for a family of models."""

    said_at: float
    windows: tuple[Window, ...]


class Calls(msgspec.Struct, frozen=True, tag=True):
    key: str
    calls: int
    failures: int


class Opened(msgspec.Struct, frozen=True, tag=True):
    """Or closed."""

    key: str
    opening: Opening


class Cooled(msgspec.Struct, frozen=True, tag=True):
    key: str
    family: str
    cooling: Cooling | None
    """None: it is over."""


class Said(msgspec.Struct, frozen=True, tag=True):
    key: str
    family: str
    limits: Limits


class Bound(msgspec.Struct, frozen=True, tag=True):
    """A session to a credential."""

    session: str
    key: str
    turn: int = 1
    """How often it was bound. Two processes may bind it at the same moment: the higher turn counts, then the key that
    sorts first, so that all come to the same."""

    def wins_over(self, other: "Bound") -> bool:
        return self.turn > other.turn or (self.turn == other.turn and self.key < other.key)


class Owned(msgspec.Struct, frozen=True, tag=True):
    """What was made at the API belongs to the credential that it was made with."""

    id: str
    key: str


class Reset(msgspec.Struct, frozen=True, tag=True):
    """By hand: circuit and cooling of a credential."""

    key: str
    at: float


class Forget(msgspec.Struct, frozen=True, tag=True):
    """By hand: which session goes to a credential; empty: to any."""

    key: str


Event = Calls | Opened | Cooled | Said | Bound | Owned | Reset | Forget


class Message(msgspec.Struct, frozen=True):
    sender: str
    """Of a process, which has no need to hear itself."""
    events: list[Event]


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Message).decode
decode_event: "msgspec.msgpack.Decoder[Event]" = msgspec.msgpack.Decoder(Event)
