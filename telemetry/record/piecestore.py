"""Stores each piece once, and remembers which are there, so that a long conversation asks the database for nothing."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, date, datetime
from uuid import UUID

from django.db import transaction

from telemetry.models import PieceRow
from telemetry.record import bodies
from telemetry.record.insert import insert
from telemetry.record.pieces import piece_id
from telemetry.record.redaction import Redactor

Key = tuple[UUID, Redactor | None]
KNOWN_MAX_PIECES = 200_000
ASKED_AT_ONCE = 500
COLUMNS = ("id", "domain_id", "last_used_on", "size_bytes", "stored_bytes", "data")
# A piece may be freed when its day of last use is long past: using it again has to move that day.
REFRESH = (
    "(id) DO UPDATE SET last_used_on = EXCLUDED.last_used_on WHERE telemetry_piece.last_used_on < EXCLUDED.last_used_on"
)


class PieceStore:
    """For one thread. What it knows to be stored was used on the day of today, and so cannot be freed meanwhile."""

    def __init__(self, today: Callable[[], date] = lambda: datetime.now(UTC).date()) -> None:
        self._today = today
        self._day = today()
        self._known: OrderedDict[Key, UUID] = OrderedDict()
        """A piece as it came → the id of the piece as it is stored: another one where it was redacted."""
        self._new: dict[UUID, tuple[UUID, bytes]] = {}
        self._came_as: dict[Key, UUID] = {}

    def add(self, domain_id: UUID, piece: bytes, redactor: Redactor | None) -> UUID:
        """The id under which the piece will be stored by the next `write`. Raises RedactionFailed."""
        stored_as = piece_id(domain_id, piece)
        key = (stored_as, redactor)
        known = self._known.get(key) or self._came_as.get(key)
        if known is not None:
            return known
        if redactor is not None:
            piece = redactor.json(piece)
            stored_as = piece_id(domain_id, piece)
        self._new[stored_as] = (domain_id, piece)
        self._came_as[key] = stored_as
        return stored_as

    def start(self) -> None:
        """Before a batch: what an attempt that failed has collected is collected again."""
        self._new.clear()
        self._came_as.clear()
        if self._today() != self._day:
            self._day = self._today()
            self._known.clear()

    def write(self) -> None:
        """Before the rows that refer to them, in a transaction of its own: pieces that nothing refers to are freed in
        time, references to pieces that are not there would be a loss."""
        if self._new:
            with transaction.atomic():
                missing = sorted(self._new.keys() - self._fresh())
                rows = [self._row(one) for one in missing]
                insert(PieceRow, COLUMNS, rows, REFRESH)
        self._known.update(self._came_as)
        while len(self._known) > KNOWN_MAX_PIECES:
            self._known.popitem(last=False)

    def _fresh(self) -> set[UUID]:
        """Which of the new pieces are stored and were used today: nothing has to be written for them."""
        ids = list(self._new)
        fresh: set[UUID] = set()
        for start in range(0, len(ids), ASKED_AT_ONCE):
            asked = PieceRow.objects.filter(id__in=ids[start : start + ASKED_AT_ONCE], last_used_on__gte=self._day)
            fresh.update(asked.values_list("id", flat=True))
        return fresh

    def _row(self, stored_as: UUID) -> tuple[object, ...]:
        domain_id, piece = self._new[stored_as]
        data = bodies.compress(piece)
        return (stored_as, domain_id, self._day, len(piece), len(data), data)
