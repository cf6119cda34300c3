"""`nexus limits`, beside a process that serves and without one."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from django.conf import settings
from pytest_django import Settings

from accounts.ids import new_id
from accounts.models import Budget, ClientKey, Domain, RateLimit
from nexus.cli import main
from telemetry.limits import overview, reading
from telemetry.limits.memory import MemoryStore
from telemetry.limits.meters import Dimension
from telemetry.limits.statefile import StateFile
from telemetry.limits.store import Want

Issued = tuple[ClientKey, str]


@pytest.fixture
def serving(settings: Settings, tmp_path: Path) -> Iterator[MemoryStore]:
    """Another process serves, nothing is shared, and this one reads its file."""
    settings.REDIS_URL, settings.NEXUS_DATA = "", tmp_path
    reading.count_nowhere()
    store = MemoryStore()
    file = StateFile(store, tmp_path)
    file.open()
    yield store
    file.close()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["limits", *arguments])


def use(store: MemoryStore, key: ClientKey) -> None:
    """One request of this key runs, and holds what it asked for."""
    meters = tuple(line.meter for line in overview.of_key(key).counting)
    amounts = tuple(30 if meter.dimension is Dimension.INPUT_TOKENS else 1 for meter in meters)
    store.reserve_now(Want(new_id(), meters, amounts))
    other = StateFile(store, settings.NEXUS_DATA)
    other._write(msgspec.msgpack.encode(store.state(100)))


def test_it_shows_all_that_applies_and_how_full_it_is(issued: Issued, serving: MemoryStore) -> None:
    key, _ = issued
    RateLimit.objects.create(client_key=key, requests_per_minute=4, input_tokens_per_minute=60, concurrent_requests=2)
    RateLimit.objects.create(domain=key.domain, model_pattern="claude-opus-*", output_tokens_per_hour=1000)
    use(serving, key)
    said = run(key.name)
    assert said.exit_code == 0
    lines = {line[: line.index("  ")]: line for line in said.output.splitlines() if "%" in line}
    assert "25%" in lines["requests per minute"]
    assert "50%" in lines["input tokens per minute"]
    assert "50%" in lines["concurrent requests"]
    assert "its domain  claude-opus-*" in lines["output tokens per hour"]
    assert lines["requests per hour"].endswith("default")
    assert "Defaults are set by DOMAIN_RATE_LIMIT_MAX_REQUESTS, DOMAIN_RATE_LIMIT_MAX_TOKENS" in said.output
    assert "From the file of the process that serves, written 0 s ago." in said.output


def test_the_defaults_end_where_a_key_has_a_limit_of_its_own(issued: Issued, serving: MemoryStore) -> None:
    key, _ = issued
    assert "Not counted:" not in run(key.name).output
    RateLimit.objects.create(client_key=key)
    assert "replaced by the limit" in run(key.name).output.partition("Not counted:")[2]


def test_a_program_reads_it_as_json(issued: Issued, serving: MemoryStore) -> None:
    key, _ = issued
    Budget.objects.create(name="Team", domain=key.domain, amount_usd=Decimal("12.5"), period="day")
    told = json.loads(run(str(key.id), "--json").output)
    (money,) = (each for each in told["limits"] if each["dimension"] == "money")
    assert (money["name"], money["limit"], money["is_known"]) == ("budget Team", "12.5000000000", True)
    assert told["key"]["domain"] == key.domain.host


@pytest.mark.parametrize("part", ["name", "id", "prefix", "masked", "last4"])
def test_a_key_is_found_by_what_people_see_of_it(issued: Issued, serving: MemoryStore, part: str) -> None:
    key, _ = issued
    assert run(str(getattr(key, part))).exit_code == 0


def test_an_unknown_key_ends_with_2_and_names_near_ones(issued: Issued, serving: MemoryStore) -> None:
    said = run("laptop")
    assert said.exit_code == 2
    assert "There is no client key laptop." in said.output
    assert str(issued[0].id) in said.output


def test_of_several_keys_of_one_name_none_is_guessed(
    issued: Issued, other_domain: Domain, serving: MemoryStore
) -> None:
    other, _ = ClientKey.issue(other_domain, issued[0].name)
    said = run(issued[0].name)
    assert said.exit_code == 2
    assert str(other.id) in said.output


def test_where_nobody_has_served_it_says_so(issued: Issued, settings: Settings, tmp_path: Path) -> None:
    settings.REDIS_URL, settings.NEXUS_DATA = "", tmp_path
    reading.count_nowhere()
    said = run(issued[0].name)
    assert said.exit_code == 0
    assert said.output.splitlines()[-1] == "Nobody serves now, and nothing is counted."


def test_a_table_fits_a_hundred_columns_whatever_things_are_called(issued: Issued, serving: MemoryStore) -> None:
    key, _ = issued
    long = "a name that is much longer than anybody would ever give to a thing in any table " * 2
    Domain.objects.filter(id=key.domain_id).update(host=f"{'long-' * 20}.example.com")
    ClientKey.objects.filter(id=key.id).update(name=long[:100])
    RateLimit.objects.create(
        domain=key.domain, model_pattern=long.replace(" ", "-")[:100], output_tokens_per_hour=10**12
    )
    Budget.objects.create(name=long[:100], client_key=key, amount_usd=Decimal(10**8))
    said = run(str(key.id)).output.splitlines()
    table = said[[line.startswith("Limit ") for line in said].index(True) : -2]
    assert len(table) > 4
    assert max(map(len, table)) <= 100
