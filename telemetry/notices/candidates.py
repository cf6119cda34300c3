"""Exchanges that people may hear of, entered in the transaction that stores them: if the exchange is there, so is this.
The writer only notes them; what they say is found out later, by a task."""

import logging
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from telemetry.models import Candidate, ExchangeRow
from telemetry.notices.notice import NoticeKind
from telemetry.notices.routes import Routes
from telemetry.record.exchange import Exchange, Kind, Outcome
from telemetry.record.insert import insert

logger = logging.getLogger(__name__)

READ_SECONDS = 5.0
"""How old the settings are at most that the writer goes by."""
WAITING_MAX = 100_000
"""Of candidates that no task has come for: beyond it the oldest conversations go."""
NEWS = timedelta(hours=24)
"""What is stored later than that after its beginning, from a spool that lay about, is told to nobody."""
FAILURES = (Outcome.API_ERROR, Outcome.UPSTREAM_FAILED, Outcome.BROKEN, Outcome.FAILED, Outcome.REFUSED)
WRONG_KEY = ("authentication_error", "permission_error")
"""Refused by Nexus, these are the caller's trouble and not the domain's."""
COLUMNS = ("exchange_id", "domain_id", "is_error")


def is_failure(exchange: Exchange) -> bool:
    if exchange.outcome is Outcome.REFUSED and exchange.error_type in WRONG_KEY:
        return False
    return exchange.outcome in FAILURES


class Audience:
    """The domains of which anybody wants to hear, as this process last read it."""

    def __init__(self) -> None:
        self._read_at = float("-inf")
        self._of_conversations: frozenset[UUID] = frozenset()
        self._of_errors: frozenset[UUID] = frozenset()

    def forget(self) -> None:
        """The settings are read again before the next batch."""
        self._read_at = float("-inf")

    def hears_of(self, exchange: Exchange) -> bool:
        if exchange.kind is not Kind.INFERENCE:
            return False
        if exchange.outcome is Outcome.COMPLETED:
            return exchange.domain_id in self._of_conversations
        return exchange.domain_id in self._of_errors and is_failure(exchange)

    def refresh(self) -> None:
        """Never raises: the record does not stop for it."""
        if time.monotonic() - self._read_at < READ_SECONDS:
            return
        self._read_at = time.monotonic()
        try:
            with transaction.atomic():
                routes = Routes.load()
                self._of_conversations = routes.wanted(NoticeKind.CONVERSATION)
                self._of_errors = routes.wanted(NoticeKind.ERROR)
                _trim()
        except Exception as error:
            logger.error("who hears of exchanges cannot be read, it stays as it was: %s", type(error).__name__)


AUDIENCE = Audience()


def note(exchanges: Iterable[Exchange]) -> None:
    """Within the transaction that stores these exchanges, and before it has: those that are stored already were noted
    when they were."""
    AUDIENCE.refresh()
    oldest = timezone.now() - NEWS
    heard = [each for each in exchanges if AUDIENCE.hears_of(each) and each.started_at >= oldest]
    if heard:
        stored = set(ExchangeRow.objects.filter(id__in=[each.id for each in heard]).values_list("id", flat=True))
        insert(Candidate, COLUMNS, _rows([each for each in heard if each.id not in stored]))


def _rows(exchanges: Sequence[Exchange]) -> list[tuple[UUID, UUID | None, bool]]:
    return [(each.id, each.domain_id, each.outcome is not Outcome.COMPLETED) for each in exchanges]


def _trim() -> None:
    """While no worker runs, this is all that grows."""
    excess = Candidate.objects.count() - WAITING_MAX
    if excess > 0:
        oldest = Candidate.objects.filter(is_error=False).order_by("exchange_id").values("exchange_id")[:excess]
        count, _ = Candidate.objects.filter(exchange_id__in=list(oldest.values_list("exchange_id", flat=True))).delete()
        logger.warning("%s conversations are told to nobody: no worker has come for them", count)
