from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Thread
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.db import connection, transaction

from accounts.ids import first_id_at, new_id
from telemetry.models import Adjustment, BatchRow, BatchUsageRow, ExchangeRow, HourMark, PriceRow, RepricingRow
from telemetry.money import prices, repricing, repricings
from telemetry.money.charges import Charge, Terms
from telemetry.money.repricing import Scope, Tally, preview, reprice
from telemetry.tasks import continue_repricing
from tests.telemetry.facts import exchange
from tests.telemetry.facts import stored_exchange as _stored

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
NO_TOKENS = {name: 0 for name in exchange().__struct_fields__ if name.endswith(("_tokens", "_requests"))}


@pytest.fixture(autouse=True)
def only_prices_of_the_test() -> None:
    PriceRow.objects.all().delete()


def price(pattern: str, usd: str, valid_from: datetime = NOON) -> PriceRow:
    names = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
    rates = {name: Decimal(usd) for name in names}
    return PriceRow.objects.create(pattern=pattern, valid_from=valid_from, source="a test", **rates)


def stored(model: str, at: datetime = NOON, tokens: int = 1000, **changes: Any) -> UUID:
    row_id = UUID(int=first_id_at(at).int | new_id().int & 0xFFFFFFFF)
    values: dict[str, Any] = NO_TOKENS | {"input_tokens": tokens, "usage": "", "pricing": "unpriced"} | changes
    return _stored(id=row_id, started_at=at, model=model, answered_model=model, **values).id


def row(exchange_id: UUID) -> ExchangeRow:
    return ExchangeRow.objects.get(id=exchange_id)


def booked(exchange_id: UUID) -> tuple[str, Decimal | None, str]:
    found = row(exchange_id)
    return found.pricing, found.cost, found.price_ids


def test_what_had_no_price_gets_one() -> None:
    exchange_id = stored("claude-new")
    first = price("claude-new", "5")
    report = reprice(Scope())
    assert booked(exchange_id) == ("priced", Decimal("0.005"), str(first.id))
    assert (report.looked_at, report.is_whole) == (1, True)
    assert report.by_model == {"claude-new": Tally(1, Decimal(0), Decimal("0.005"), 1, 0)}


def test_each_change_is_an_adjustment_with_what_was_booked_before() -> None:
    exchange_id = stored("m")
    old = price("m", "5", NOON - HOUR)
    reprice(Scope())
    new = price("m", "2")
    run_id = new_id()
    reprice(Scope(), run_id)
    adjustment = Adjustment.objects.get(run_id=run_id)
    assert (adjustment.exchange_id, adjustment.model, adjustment.batch_id) == (exchange_id, "m", "")
    assert (adjustment.cost_before, adjustment.cost_after) == (Decimal("0.005"), Decimal("0.002"))
    assert (adjustment.price_ids_before, adjustment.price_ids_after) == (str(old.id), str(new.id))


def test_a_second_run_finds_nothing_to_change() -> None:
    stored("m")
    stored("n")
    price("m", "5")
    assert reprice(Scope()).total.count == 1
    count = Adjustment.objects.count()
    assert reprice(Scope()).total == Tally()
    assert Adjustment.objects.count() == count


def test_usage_is_never_changed() -> None:
    exchange_id = stored("m", usage='{"input_tokens":1000,"speed":"fast"}')
    price("m", "5")
    before = {field: value for field, value in vars(row(exchange_id)).items() if field[0] != "_"}
    PriceRow.objects.update(fast_factor=2)
    reprice(Scope())
    after = {field: value for field, value in vars(row(exchange_id)).items() if field[0] != "_"}
    assert {field for field in before if before[field] != after[field]} == {"pricing", "cost", "price_ids"}
    assert after["cost"] == Decimal("0.01")


def test_the_price_of_the_day_counts_not_that_of_today() -> None:
    then, now = stored("m", NOON - HOUR), stored("m", NOON)
    price("m", "5", NOON - 2 * HOUR)
    price("m", "1", NOON)
    reprice(Scope())
    assert (row(then).cost, row(now).cost) == (Decimal("0.005"), Decimal("0.001"))


def test_a_price_that_is_gone_leaves_its_exchanges_unpriced_again() -> None:
    exchange_id = stored("m")
    price("m", "5")
    reprice(Scope())
    PriceRow.objects.all().delete()
    report = reprice(Scope())
    assert booked(exchange_id) == ("unpriced", None, "")
    assert report.total == Tally(1, Decimal("0.005"), Decimal(0), 0, 1)


@pytest.mark.parametrize("cost", [None, Decimal(0)])
def test_what_was_free_stays_as_it_is(cost: Decimal | None) -> None:
    stored("m", tokens=0, pricing="free", cost=cost)
    price("m", "5")
    assert reprice(Scope()).total.count == 0


def test_it_marks_the_hours_that_changed_and_no_others(domain: Any) -> None:
    stored("m", NOON, domain_id=domain.id)
    stored("other", NOON + HOUR, domain_id=domain.id)
    price("m", "5")
    HourMark.objects.all().delete()
    reprice(Scope())
    assert list(HourMark.objects.values_list("hour", "domain_id")) == [(NOON, domain.id)]


def test_a_scope_leaves_out_other_times_models_and_domains(domain: Any, other_domain: Any) -> None:
    wanted = stored("claude-a", NOON, domain_id=domain.id)
    stored("claude-a", NOON - timedelta(milliseconds=1), domain_id=domain.id)
    stored("claude-a", NOON + HOUR, domain_id=domain.id)
    stored("claude-b", NOON, domain_id=domain.id)
    stored("claude-a", NOON, domain_id=other_domain.id)
    price("*", "5", NOON - HOUR)
    scope = Scope(since=NOON, until=NOON + HOUR, patterns=("claude-a*", "x"), domain_id=domain.id)
    assert preview(scope).total.count == 1
    reprice(scope)
    assert list(ExchangeRow.objects.filter(pricing="priced").values_list("id", flat=True)) == [wanted]


def test_a_model_that_only_advised_is_in_scope_too() -> None:
    usage = '{"iterations":[{"type":"advisor_message","model":"adviser","input_tokens":1000}]}'
    exchange_id = stored("m", tokens=0, usage=usage, usage_source="final")
    price("adviser", "5")
    reprice(Scope(patterns=("adviser",)))
    assert row(exchange_id).cost == Decimal("0.005")


def test_a_preview_changes_nothing() -> None:
    exchange_id = stored("m")
    price("m", "5")
    report = preview(Scope())
    assert report.total == Tally(1, Decimal(0), Decimal("0.005"), 1, 0)
    assert booked(exchange_id) == ("unpriced", None, "")
    assert not Adjustment.objects.exists()


def test_more_than_one_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repricing, "BATCH_ROWS", 2)
    ids = [stored("m", NOON + number * HOUR) for number in range(5)]
    price("m", "5", NOON - HOUR)
    seen = []
    report = reprice(Scope(), on_progress=lambda so_far: seen.append((so_far.looked_at, so_far.reached)))
    assert seen == [(2, ids[1]), (4, ids[3]), (5, ids[4])]
    assert report.total.count == 5


def test_a_row_that_changed_meanwhile_is_left_alone() -> None:
    exchange_id = stored("m")
    first = price("m", "5")
    (change,) = repricing._changes([row(exchange_id)], Scope(), prices.load())
    reprice(Scope())
    assert repricing._apply([change], new_id()) == []
    assert booked(exchange_id) == ("priced", Decimal("0.005"), str(first.id))
    assert Adjustment.objects.count() == 1


def test_several_runs_at_once_change_each_row_once() -> None:
    for number in range(60):
        stored("m", NOON + number * timedelta(minutes=10))
    price("m", "5", NOON - HOUR)

    def run() -> None:
        try:
            reprice(Scope())
        finally:
            connection.close()

    threads = [Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ExchangeRow.objects.filter(pricing="priced", cost=Decimal("0.005")).count() == 60
    assert Adjustment.objects.count() == 60


def test_an_adjustment_and_its_change_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    exchange_id = stored("m")
    price("m", "5")

    def fails(_: object) -> None:
        raise RuntimeError("the database went away")

    monkeypatch.setattr(repricing, "mark", fails)
    with pytest.raises(RuntimeError):
        reprice(Scope())
    assert booked(exchange_id) == ("unpriced", None, "")
    assert not Adjustment.objects.exists()


def test_models_that_are_told_of_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repricing, "MODELS_MAX", 2)
    for number, name in enumerate("abcd"):
        stored(name, NOON + number * HOUR)
    price("*", "5")
    by_model = reprice(Scope()).by_model
    assert {name: tally.count for name, tally in by_model.items()} == {"a": 1, "b": 1, repricing.OTHERS: 2}


# Message batches.


def batch(model: str, created_at: datetime, booked_at: datetime) -> BatchUsageRow:
    booked_id = first_id_at(booked_at)
    values = {"created_at": created_at, "credential_source": "domain"}
    made = BatchRow.objects.create(id=f"msgbatch_{new_id()}", booked_id=booked_id, booked_at=booked_at, **values)
    charges = [Charge(terms=Terms(model=model, is_batch=True), input_tokens=1_000_000)]
    counts = {name: 0 for name in NO_TOKENS if name not in ("web_fetch_requests", "code_execution_requests")}
    return BatchUsageRow.objects.create(
        id=new_id(),
        batch=made,
        booked_id=booked_id,
        model=model,
        charges=msgspec.json.encode(charges).decode(),
        pricing="unpriced",
        **counts | {"input_tokens": 1_000_000},
    )


def test_a_batch_is_priced_by_the_day_on_which_it_was_created() -> None:
    usage = batch("m", created_at=NOON - HOUR, booked_at=NOON + 5 * HOUR)
    old = price("m", "5", NOON - 2 * HOUR)
    price("m", "1", NOON)
    HourMark.objects.all().delete()
    report = reprice(Scope())
    usage.refresh_from_db()
    assert (usage.pricing, usage.cost, usage.price_ids) == ("priced", Decimal("2.5"), str(old.id))
    assert report.by_model == {"m": Tally(1, Decimal(0), Decimal("2.5"), 1, 0)}
    adjustment = Adjustment.objects.get()
    assert (adjustment.exchange_id, adjustment.batch_id) == (usage.booked_id, usage.batch_id)
    assert list(HourMark.objects.values_list("hour", flat=True)) == [NOON + 5 * HOUR]
    assert reprice(Scope()).total.count == 0


def test_a_batch_is_in_scope_by_the_hour_in_which_it_counts() -> None:
    batch("m", created_at=NOON - HOUR, booked_at=NOON)
    price("m", "5", NOON - HOUR)
    assert preview(Scope(until=NOON)).total.count == 0
    assert preview(Scope(since=NOON, patterns=("other",))).total.count == 0
    assert preview(Scope(since=NOON)).total.count == 1


# In the background.


def test_the_background_goes_on_where_it_was_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repricing, "BATCH_ROWS", 1)
    ids = [stored("m", NOON + number * HOUR) for number in range(3)]
    asked = repricings.ask(repricings.scope_of_prices([price("m", "5"), price("n", "5", NOON + HOUR)]), "ada")
    assert (asked.since, asked.patterns) == (NOON, "m\nn")
    seen = []
    while repricings.go_on(seconds=0):
        asked.refresh_from_db()
        seen.append((asked.looked_at, asked.changed, asked.reached, asked.finished_at))
    assert seen == [(number + 1, number + 1, ids[number], None) for number in range(3)]
    asked.refresh_from_db()
    assert (asked.looked_at, asked.changed, asked.reached) == (3, 3, ids[2])
    assert (asked.cost_before, asked.cost_after) == (Decimal(0), Decimal("0.015"))
    assert asked.finished_at is not None
    assert set(Adjustment.objects.values_list("run_id", flat=True)) == {asked.id}


def test_the_task_does_all_that_was_asked_for() -> None:
    exchange_id = stored("m")
    for usd in ("5", "6"):
        PriceRow.objects.all().delete()
        repricings.ask(repricings.scope_of_prices([price("m", usd)]), "ada")
    while RepricingRow.objects.filter(finished_at=None).exists():
        repricings.go_on(seconds=5)
    assert row(exchange_id).cost == Decimal("0.006")
    continue_repricing()  # nothing is left to do, and nothing happens


def test_a_slower_worker_does_not_turn_the_progress_back() -> None:
    stored("m")
    asked = repricings.ask(repricings.scope_of_prices([price("m", "5")]), "ada")
    stale = RepricingRow.objects.get(id=asked.id)
    assert not repricings.go_on(seconds=5)
    with transaction.atomic():
        repricings._note(stale, repricing.Report())
    asked.refresh_from_db()
    assert (asked.looked_at, asked.finished_at is None) == (1, False)
