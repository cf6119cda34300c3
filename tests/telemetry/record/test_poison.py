"""A row that can never be stored is left out and named: to try it again for ever would stop the whole record."""

from typing import Any

import pytest

from telemetry.models import ExchangeRow
from telemetry.record.store import store
from tests.telemetry.facts import closed

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    "poison",
    [{"model": "\ud800"}, {"input_tokens": 2**63}, {"duration_ms": -1}, {"status": None, "model": None}],
    ids=["surrogate", "too large", "negative", "empty"],
)
def test_it_holds_up_no_other(poison: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    bad = closed(**poison)
    assert store([closed(), bad, closed()]) == 2
    assert ExchangeRow.objects.count() == 2
    assert str(bad.exchange.id) in caplog.text
