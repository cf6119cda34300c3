"""The proof, as the query API and the metrics give it."""

from datetime import UTC, datetime

import msgspec
import pytest
from django.test import Client

from accounts.ids import new_id
from telemetry.models import LedgerRow
from telemetry.record.ledger import Page
from telemetry.record.shelf import Shelf
from telemetry.record.store import Store
from tests.telemetry.facts import closed

pytestmark = pytest.mark.django_db(transaction=True)


def page(**changes: object) -> Page:
    facts: dict[str, object] = {"process_id": new_id(), "node": "a", "started_at": datetime.now(UTC)}
    counts: dict[str, object] = {"accepted": 0, "in_flight": 0, "spooled": 0}
    return Page(**(facts | counts | changes))  # type: ignore[arg-type]


def test_all_processes_add_up(script: Client) -> None:
    store = Store(Shelf())
    first = page(accepted=5, in_flight=1, spooled=2)
    assert store([closed(), closed()], first).total == 2
    store([], page(node="b", accepted=7, in_flight=7, lost=0, spooled_bytes=100))
    answer = script.get("/api/ledger").json()
    assert answer["cluster"] | {"spooled_bytes": 100} == answer["cluster"]
    assert [answer["cluster"][name] for name in ("accepted", "stored", "in_flight", "spooled", "gap")] == [
        12,
        2,
        8,
        2,
        0,
    ]
    assert {process["node"] for process in answer["processes"]} == {"a", "b"}
    metrics = script.get("/metrics").content.decode()
    assert "nexus_record_accepted 12.0" in metrics
    assert f'nexus_record_process_stored{{node="a",process="{first.process_id}"}} 2.0' in metrics
    assert "nexus_record_gap 0.0" in metrics


def test_one_that_ended_without_a_gap_is_only_in_the_sum(script: Client) -> None:
    store = Store(Shelf())
    store([closed()], page(accepted=1, ended_at=datetime.now(UTC)))
    store([], with_gap := page(accepted=3, lost=3, ended_at=datetime.now(UTC)))
    answer = script.get("/api/ledger").json()
    assert answer["cluster"]["accepted"] == 4
    assert (answer["cluster"]["gap"], answer["cluster"]["lost"]) == (3, 3)
    assert [process["process"] for process in answer["processes"]] == [str(with_gap.process_id)]


def test_the_same_batch_twice_counts_once() -> None:
    """The process was killed between the commit and the release of its spool."""
    batch = [closed(), closed()]
    one = page(accepted=2)
    Store(Shelf())(batch, one)
    assert Store(Shelf())(batch, one).total == 2
    assert LedgerRow.objects.totals().gap == 0


def test_who_sees_some_domains_sees_no_ledger(console: Client, client: Client) -> None:
    for path in ("/api/ledger", "/metrics"):
        assert console.get(path).status_code == 403
        assert client.get(path).status_code == 401
    assert client.post("/metrics").status_code == 405


def test_without_any_process_everything_is_zero(script: Client) -> None:
    answer = script.get("/api/ledger").json()
    assert set(answer["cluster"].values()) == {0}
    assert answer["processes"] == []


def test_an_adoption_that_is_half_done_shows_no_gap() -> None:
    """What waits in the spool of the dead process still counts as spooled."""
    store = Store(Shelf())
    alive = page(accepted=10, in_flight=2, spooled=8)
    store([], alive)
    adopting = Page(process_id=alive.process_id, node="b", started_at=alive.started_at)
    store([closed(), closed()], adopting)
    totals = LedgerRow.objects.totals()
    assert (totals.accepted, totals.stored, totals.in_flight, totals.spooled, totals.gap) == (10, 2, 2, 6, 0)
    store([], msgspec.structs.replace(adopting, accepted=10, in_flight=0, spooled=0, lost=1))
    store([], msgspec.structs.replace(adopting, lost=1))
    assert LedgerRow.objects.totals().lost == 1, "the same loss, told twice"


def test_a_slip_in_the_counting_does_not_stop_the_record() -> None:
    assert Store(Shelf())([closed()], page(accepted=1, spooled=-1)).left_out == 0
