"""`nexus verify-rollups`."""

from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner, Result

from accounts.models import Domain
from nexus.cli import main
from telemetry.models import HourRow
from telemetry.money.rollups import roll_up
from tests.telemetry.facts import stored_exchange

pytestmark = pytest.mark.django_db(transaction=True)


def verify(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["verify-rollups", *arguments])


def test_it_says_that_all_is_well(domain: Domain) -> None:
    stored_exchange(domain_id=domain.id)
    done = verify()
    assert (done.exit_code, done.output) == (0, "1 hours compared, 0 differ.\n")


def test_an_empty_record_is_well_too(db: None) -> None:
    assert verify().exit_code == 0


def test_it_prints_each_difference_and_fails_until_it_repairs(domain: Domain) -> None:
    stored_exchange(domain_id=domain.id)
    roll_up()
    HourRow.objects.update(input_tokens=11, output_tokens=0)
    done = verify("--since", "24h")
    assert done.exit_code == 1
    assert "input_tokens is 11 in the sums, 10 in the record" in done.output
    assert "output_tokens is 0 in the sums, 20 in the record" in done.output
    done = verify("--repair")
    assert done.exit_code == 0
    assert done.output.endswith("1 hours compared, 1 differ, 1 repaired.\n")
    assert verify().exit_code == 0


def test_it_looks_at_one_domain_and_one_span(domain: Domain, other_domain: Domain) -> None:
    for one in (domain, other_domain):
        stored_exchange(domain_id=one.id)
    roll_up()
    HourRow.objects.filter(domain=other_domain).update(requests=9)
    assert verify("--domain", domain.host).exit_code == 0
    assert verify("--domain", other_domain.host).exit_code == 1
    until = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    assert verify("--until", until).output == "0 hours compared, 0 differ.\n"


@pytest.mark.parametrize("arguments", [("--domain", "nobody.example.com"), ("--since", "yesterday")])
def test_it_refuses_what_cannot_be_meant(db: None, arguments: tuple[str, str]) -> None:
    done = verify(*arguments)
    assert done.exit_code in (1, 2)
    assert arguments[1] in done.output
