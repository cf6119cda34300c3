"""`nexus stats`."""

import os
import signal
import subprocess
import sys
from decimal import Decimal

import pytest
from click.testing import CliRunner, Result

from accounts.models import Domain
from nexus.cli import main
from telemetry.money.rollups import roll_up
from telemetry.record.exchange import Kind, Pricing
from tests.dashboard.asking import bare_exchange
from tests.telemetry.facts import stored_exchange

pytestmark = pytest.mark.django_db(transaction=True)


def stats(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["stats", *arguments])


def test_an_empty_record_is_said_in_a_sentence(db: None) -> None:
    done = stats()
    assert done.exit_code == 0
    assert done.output.startswith("No requests since ")


def test_domains_and_totals_stand_in_aligned_columns(domain: Domain, other_domain: Domain) -> None:
    for kind in (Kind.INFERENCE, Kind.QUERY_EVALUATION, Kind.INFERENCE):
        stored_exchange(domain_id=domain.id, kind=kind, cost=Decimal("1234.5678"), pricing=Pricing.PRICED)
    stored_exchange(domain_id=other_domain.id, pricing=Pricing.UNPRICED, output_tokens=1_234_567)
    bare_exchange()
    roll_up()
    done = stats()
    assert done.exit_code == 0
    since, _, head, rule, *rows, second_rule, total = done.output.splitlines()
    assert since.startswith("Since ")
    assert {len(line) for line in (head, rule, *rows, second_rule)} == {len(rule)}
    cells = [row.split() for row in rows]
    assert cells[0][:-2] == ["claude.example.com", "3", "2", "1", "0", "30", "90", "270", "60", "3,703.7034", "0"]
    assert {row[0] for row in cells} == {"claude.example.com", "other.example.com", "(none)"}
    assert total.split() == ["Total", "5", "4", "1", "0", "50", "150", "450", "1,234,647", "3,703.7034", "1"]
    assert [line.index(text) for line, text in ((head, "Requests"), (rows[0], "       3"))] == [
        head.index("Requests")
    ] * 2


def test_it_shows_one_domain(domain: Domain, other_domain: Domain) -> None:
    for one in (domain, other_domain):
        stored_exchange(domain_id=one.id)
    roll_up()
    assert "other.example.com" not in stats("--domain", domain.host, "--since", "7d").output
    assert stats("--domain", domain.host, "--since", "2100-01-01").output.startswith(
        "No requests of claude.example.com"
    )
    assert stats("--domain", "nobody.example.com").exit_code == 1


@pytest.mark.parametrize("arguments", [("--since", "x"), ("--every", "0"), ("--since", "2026-13-01")])
def test_it_refuses_what_cannot_be_meant(arguments: tuple[str, str]) -> None:
    assert stats(*arguments).exit_code == 2


def test_watching_draws_again_and_ends_in_order(tmp_path: object) -> None:
    """As a process, into a pipe, on a database of its own."""
    environment = os.environ | {"DEBUG": "true", "NEXUS_DATA": str(tmp_path), "DATABASE_URL": "", "REDIS_URL": ""}
    command = [sys.executable, "-m", "nexus"]
    subprocess.run([*command, "migrate"], env=environment, check=True, capture_output=True)
    watching = subprocess.Popen(
        [*command, "stats", "--watch", "--every", "0.1"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert watching.stdout is not None
    seen = 0
    for line in watching.stdout:
        assert "\x1b" not in line
        seen += line.startswith("No requests since ")
        if seen == 3:
            break
    watching.send_signal(signal.SIGINT)
    assert watching.wait(20) == 0
    watching.stdout.close()
