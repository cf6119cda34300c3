"""How Redis keeps what all processes know of credentials' health: a hash of events, each of which brings one fact."""

from collections.abc import Iterator, Mapping

from telemetry.credentials.events import Cooled, Event, Opened, Reset, Said, decode_event

CHANNEL = "nexus:credentials:news"
STATE = "nexus:credentials:state"


def field(event: Opened | Cooled | Said | Reset) -> str:
    match event:
        case Cooled(key, family):
            return f"cooled {key} {family}"
        case Said(key, family):
            return f"said {key} {family}"
        case Reset(key):
            return f"reset {key}"
        case Opened(key):
            return f"opened {key}"


def read_state(found: Mapping[bytes, bytes]) -> Iterator[Event]:
    """Resets first: what was said after them counts. What another version wrote is left out."""
    for name in sorted(found, key=lambda name: not name.startswith(b"reset ")):
        try:
            yield decode_event.decode(found[name])
        except ValueError:
            continue
