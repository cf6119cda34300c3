"""Deletes what its domain does not want kept any longer: a thousand rows at a time, each time in a short transaction
of its own, and without reading a single body."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, F, Model, QuerySet, Sum
from django.utils import timezone

from accounts.ids import first_id_at
from accounts.models import Domain
from telemetry.conf import RecordConf
from telemetry.models import BodyRow, ExchangeRow, LedgerRow, PieceRow
from telemetry.money.rollups import make_final, roll_up_until

BATCH_ROWS = 1000
MAX_BATCHES = 500
"""Of each table and domain in one run of the task. The next run goes on: that is 140 exchanges a second, for ever."""
LONGEST_REST_SECONDS = 0.1
LEDGER_DAYS = 30

Rows = QuerySet[Any]


@dataclass(frozen=True, slots=True)
class Freed:
    exchanges: int = 0
    bodies: int = 0
    pieces: int = 0
    bytes: int = 0
    """Of bodies and pieces as they were stored."""

    def __add__(self, other: "Freed") -> "Freed":
        return Freed(
            self.exchanges + other.exchanges,
            self.bodies + other.bodies,
            self.pieces + other.pieces,
            self.bytes + other.bytes,
        )

    def __bool__(self) -> bool:
        return self != Freed()

    def __str__(self) -> str:
        return f"{self.exchanges:,} exchanges, {self.bodies:,} bodies and {self.pieces:,} pieces, {self.bytes:,} bytes"


@dataclass(frozen=True, slots=True)
class Expired:
    """What of one domain has had its time. Requests that belong to none are kept like those of any other."""

    name: str
    domain_id: UUID | None
    bodies_before: datetime | None
    rows_before: datetime | None
    """None: for ever."""

    def exchanges(self) -> Rows:
        if self.rows_before is None:
            return ExchangeRow.objects.none()
        return self._older(ExchangeRow.objects, "id", self.rows_before)

    def bodies(self) -> Rows:
        if self.bodies_before is None:
            return BodyRow.objects.none()
        return self._older(BodyRow.objects, "exchange_id", self.bodies_before)

    def pieces(self) -> Rows:
        """A piece was last used on the day on which the last body that refers to it was written. A body is written
        after its exchange began: when all bodies from before a moment are gone, nothing refers any more to a piece
        that was last used before the day of that moment. One day more, since clocks differ."""
        if self.bodies_before is None or self.domain_id is None:
            return PieceRow.objects.none()
        day = self.bodies_before.date() - timedelta(days=1)
        return PieceRow.objects.filter(domain_id=self.domain_id, last_used_on__lt=day).order_by("last_used_on")

    def _older(self, rows: Any, id_name: str, moment: datetime) -> Rows:
        of = {"domain_id": self.domain_id} if self.domain_id else {"domain_id__isnull": True}
        return rows.filter(**of, **{f"{id_name}__lt": first_id_at(moment)}).order_by(id_name)  # type: ignore[no-any-return]


def expired(now: datetime | None = None) -> Iterator[Expired]:
    """One for each domain that the record knows, also where the register does not know it any more."""
    now = now or timezone.now()
    conf: RecordConf = settings.RECORD
    for domain_id in (None, *_domain_ids()):
        # Read when its turn comes: the domains before it may have taken minutes.
        domain = Domain.objects.filter(id=domain_id).first() if domain_id else None
        bodies, rows = conf.retain_bodies_days, conf.retain_rows_days
        if domain is not None:
            bodies = bodies if domain.retain_bodies_days is None else domain.retain_bodies_days
            rows = rows if domain.retain_rows_days is None else domain.retain_rows_days
        # A body does not outlive its row.
        shorter = min((days for days in (bodies, rows) if days), default=0)
        yield Expired(_name(domain, domain_id), domain_id, _before(now, shorter), _before(now, rows))


def clean(of: Expired, max_batches: int | None = MAX_BATCHES) -> Freed:
    """Deletes it, up to *max_batches* of each table. Many processes may do so at once."""
    freed = _in_batches(lambda: _free_bodies(of.bodies()), max_batches)
    if not of.bodies().exists():
        freed += _in_batches(lambda: _free_pieces(of.pieces()), max_batches)
    if of.rows_before is not None:
        roll_up_until(of.domain_id, of.rows_before)
    return freed + _in_batches(lambda: _free_exchanges(of.exchanges()), max_batches)


def measure(of: Expired) -> Freed:
    """What `clean` would free."""
    bodies = of.bodies().order_by().aggregate(count=Count("pk"), bytes=Sum("stored_bytes", default=0))
    pieces = of.pieces().order_by().aggregate(count=Count("pk"), bytes=Sum("stored_bytes", default=0))
    return Freed(of.exchanges().count(), bodies["count"], pieces["count"], bodies["bytes"] + pieces["bytes"])


def clean_ledger(now: datetime | None = None) -> int:
    """Forgets processes that ended long ago. One with a gap stays: it says that something was lost."""
    before = (now or timezone.now()) - timedelta(days=LEDGER_DAYS)
    ended = LedgerRow.objects.filter(ended_at__lt=before, accepted=F("stored") + F("lost"))
    return _deleted(ended)


def _free_bodies(rows: Rows) -> Freed:
    found = _locked(rows, "exchange_id", "stored_bytes")
    count = _deleted(BodyRow.objects.filter(exchange_id__in=[row_id for row_id, _ in found]))
    return Freed(bodies=count, bytes=sum(size for _, size in found))


def _free_pieces(rows: Rows) -> Freed:
    found = _locked(rows, "id", "stored_bytes")
    # Asked again as it deletes: a piece that was used meanwhile has moved to today.
    count = _deleted(rows.order_by().filter(id__in=[row_id for row_id, _ in found]))
    return Freed(pieces=count, bytes=sum(size for _, size in found))


def _free_exchanges(rows: Rows) -> Freed:
    ids = make_final(_locked(rows, "id", "domain_id"))
    bodies = BodyRow.objects.filter(exchange_id__in=ids)  # those that came between, and what a bounded run has left
    freed = _free_bodies(bodies)
    return freed + Freed(exchanges=_deleted(ExchangeRow.objects.filter(id__in=ids)))


def _in_batches(free: Callable[[], Freed], max_batches: int | None) -> Freed:
    freed, count = Freed(), 0
    while max_batches is None or count < max_batches:
        started = time.monotonic()
        with transaction.atomic():
            batch = free()
        if not batch:
            break
        freed, count = freed + batch, count + 1
        # As long as it has kept others waiting: SQLite has one writer, and those who wait for it do not queue.
        time.sleep(min(time.monotonic() - started, LONGEST_REST_SECONDS))
    return freed


def _locked(rows: Rows, *columns: str) -> list[tuple[Any, ...]]:
    """The next ones that nobody else is deleting or using. On SQLite a transaction is alone anyway."""
    return list(rows.select_for_update(skip_locked=True).values_list(*columns)[:BATCH_ROWS])


def _deleted(rows: Rows) -> int:
    """With one statement. `delete()` would read the rows first, bodies and all, if anything listened to a signal."""
    return rows._raw_delete(connection.alias) or 0  # None where it need not even ask


def _domain_ids() -> list[UUID]:
    return sorted({domain_id for model in (ExchangeRow, BodyRow, PieceRow) for domain_id in domain_ids_in(model)})


def domain_ids_in(model: type[Model]) -> Iterator[UUID]:
    """Leaps through the index from domain to domain: DISTINCT would read all of it."""
    ids = (
        model._default_manager.filter(domain_id__isnull=False).order_by("domain_id").values_list("domain_id", flat=True)
    )
    domain_id = ids.first()
    while domain_id is not None:
        yield domain_id
        domain_id = ids.filter(domain_id__gt=domain_id).first()


def _before(now: datetime, days: int) -> datetime | None:
    return now - timedelta(days=days) if days else None


def _name(domain: Domain | None, domain_id: UUID | None) -> str:
    if domain is not None:
        return domain.host
    return "no domain" if domain_id is None else f"a domain that is gone ({domain_id})"
