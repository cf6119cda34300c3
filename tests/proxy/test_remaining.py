"""What a client is told of what is left."""

from datetime import UTC, datetime

from accounts.ids import new_id
from proxy.admission import Admission
from proxy.errors import BudgetSpent
from proxy.remaining import remaining
from telemetry.limits.meters import UNITS_PER_USD, Account, Dimension, Meter
from telemetry.limits.store import Granted, Want

AT_MS = int(datetime(2026, 11, 23, 10, 0, tzinfo=UTC).timestamp() * 1000)


def requests(limit: int, window_ms: int = 60_000) -> Meter:
    return Meter(
        key=str(limit), dimension=Dimension.REQUESTS, limit=limit, window_ms=window_ms, scope="key", label="key Ada"
    )


def told(*used: tuple[Meter, int]) -> dict[str, str]:
    want = Want(new_id(), tuple(meter for meter, _ in used), tuple(1 for _ in used))
    headers = remaining(Admission(want, Granted(AT_MS, tuple(amount for _, amount in used))))
    return {name.decode().removeprefix("x-nexus-ratelimit-"): value.decode() for name, value in headers}


def test_of_each_dimension_the_limit_is_told_of_which_least_is_left() -> None:
    assert told((requests(1000), 100), (requests(50), 49), (requests(10), 1)) == {
        "requests-limit": "50",
        "requests-remaining": "1",
        "requests-reset": "2026-11-23T10:01:01Z",
    }


def test_what_is_overdrawn_is_not_less_than_nothing() -> None:
    assert told((requests(5), 7))["requests-remaining"] == "0"


def test_money_is_told_in_usd_with_the_end_of_its_period() -> None:
    ends_at = datetime(2026, 12, 1, tzinfo=UTC)
    account = Account(budget_id=new_id(), starts_at=datetime(2026, 11, 1, tzinfo=UTC), ends_at=ends_at)
    meter = Meter(
        key="b", dimension=Dimension.MONEY, limit=100 * UNITS_PER_USD, scope="key", label="Team", account=account
    )
    assert told((meter, 25 * UNITS_PER_USD // 2)) == {
        "money-limit": "100.0000",
        "money-remaining": "87.5000",
        "money-reset": "2026-12-01T00:00:00Z",
    }


def test_without_limits_nothing_is_told() -> None:
    assert told() == {}


def test_a_budgets_name_fits_into_a_header_whatever_it_is() -> None:
    error = BudgetSpent("It is spent.", "budget Büro\r\nx-evil: 1", None)
    assert error.headers == ((b"x-nexus-limit", b"budget B?ro??x-evil: 1"),)
