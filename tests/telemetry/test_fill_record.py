"""`manage.py fill_record`: made-up exchanges that look like real ones."""

import io
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Sum
from django.utils import timezone

from accounts.ids import first_id_at
from accounts.models import ClientKey, Credential, Domain
from telemetry.models import BodyRow, ExchangeRow, HourMark, HourRow, Kind, Outcome, PieceRow, PriceRow, Pricing
from tests.telemetry.money.plain import sums_by_dimensions, sums_stored

pytestmark = pytest.mark.django_db(transaction=True)
EXCHANGES = 2000


def fill(**options: object) -> str:
    told = io.StringIO()
    call_command("fill_record", stderr=told, **{"exchanges": EXCHANGES, "days": 10, "with_bodies": 0.05} | options)
    return told.getvalue()


def test_rows_are_plausible_and_in_the_order_of_time() -> None:
    told = fill()
    assert f"{EXCHANGES:,} of {EXCHANGES:,} exchanges, " in told
    rows = list(ExchangeRow.objects.order_by("id"))
    assert len(rows) == EXCHANGES
    assert [row.started_at for row in rows] == sorted(row.started_at for row in rows)
    for row in rows:
        assert first_id_at(row.started_at) <= row.id < first_id_at(row.started_at + timedelta(milliseconds=1))
        assert row.request_preview
    assert timedelta(days=9) < rows[-1].started_at - rows[0].started_at < timedelta(days=10)
    assert rows[-1].started_at <= timezone.now()
    assert 0.94 < sum(row.outcome == Outcome.COMPLETED for row in rows) / EXCHANGES < 0.99
    assert {row.kind for row in rows} > {Kind.INFERENCE.value, Kind.COUNT_TOKENS.value}
    assert sum(row.output_tokens > 0 for row in rows) > EXCHANGES * 0.9
    assert 30 < len({row.session_id for row in rows}) < 200


def test_it_has_costs_and_is_summed() -> None:
    rates = dict.fromkeys(("input", "output", "cache_write_5m", "cache_write_1h", "cache_read"), Decimal(3))
    PriceRow.objects.all().delete()
    PriceRow.objects.create(pattern="*-4-5", valid_from=timezone.now() - timedelta(days=99), source="test", **rates)
    assert " hours summed, " in fill(exchanges=500)
    assert not HourMark.objects.exists()
    assert HourRow.objects.aggregate(requests=Sum("requests"))["requests"] == 500
    priced = ExchangeRow.objects.filter(pricing=Pricing.PRICED)
    assert priced.count() > 300
    assert not priced.filter(cost__lte=0).exists()
    assert ExchangeRow.objects.filter(pricing=Pricing.UNPRICED).exists()
    assert sums_stored() == sums_by_dimensions()


def test_it_makes_the_register_that_the_rows_refer_to() -> None:
    fill(domains=3)
    assert Domain.objects.count() == 3
    for model, column in ((Domain, "domain_id"), (ClientKey, "client_key_id"), (Credential, "credential_id")):
        used = set(ExchangeRow.objects.values_list(column, flat=True))
        assert used <= set(model._default_manager.values_list("id", flat=True))
    fill(domains=3, seed=2, force=True)
    assert (Domain.objects.count(), ClientKey.objects.count(), Credential.objects.count()) == (3, 12, 6)


def test_some_sessions_have_bodies_that_can_be_read() -> None:
    fill(exchanges=300, with_bodies=0.5)
    body = BodyRow.objects.select_related("exchange").order_by("-exchange_id")[0]
    request = body.exchange.request_body()
    assert request is not None
    assert len(request) == body.exchange.request_bytes > 50_000
    assert PieceRow.objects.exists()
    assert body.exchange.request_preview


def test_without_bodies_there_are_none() -> None:
    fill(exchanges=100, with_bodies=0)
    assert not BodyRow.objects.exists()


def test_it_refuses_where_the_record_has_exchanges() -> None:
    fill(exchanges=10)
    with pytest.raises(CommandError, match="--force"):
        fill(exchanges=10)
    assert ExchangeRow.objects.count() == 10
    fill(exchanges=10, seed=2, force=True)
    assert ExchangeRow.objects.count() == 20


@pytest.mark.parametrize("wrong", ["--exchanges=0", "--with-bodies=2", "--days=x"])
def test_it_refuses_what_cannot_be_meant(wrong: str) -> None:
    with pytest.raises(CommandError, match=wrong.partition("=")[0]):
        call_command("fill_record", wrong)
