from decimal import Decimal

import pytest

from telemetry.money.amounts import cost, dollars


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0"),
        ("0E-10", "$0"),
        ("0.0000000001", "$0.0000000001"),
        ("0.0050000000", "$0.005"),
        ("0.01", "$0.0100"),
        ("0.012345", "$0.0123"),
        ("1234.5", "$1,234.5000"),
        ("-0.005", "-$0.005"),
    ],
)
def test_amounts_for_people(amount: str, shown: str) -> None:
    assert dollars(Decimal(amount)) == shown


def test_the_cost_of_a_row() -> None:
    assert cost("free", None) == cost("free", Decimal(0)) == "free"
    assert cost("unpriced", None) == "unpriced"
    assert cost("priced", Decimal(0)) == "$0"
