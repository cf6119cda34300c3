"""`nexus limits`, beside a process that serves and without one."""

import json
from collections.abc import Iterator
from decimal import Decimal

import pytest
from click.testing import CliRunner, Result

from accounts.ids import new_id
from accounts.models import Budget, ClientKey, Domain, RateLimit
from accounts.register import load
from nexus.cli import main
from telemetry.limits import overview, reading
from telemetry.limits.memory import MemoryStore
from telemetry.limits.meters import Dimension
from telemetry.limits.store import Want

Issued = tuple[ClientKey, str]


@pytest.fixture
def serving(settings: object) -> Iterator[MemoryStore]:
    """This process serves, and nothing is shared."""
    settings.REDIS_URL = ""  # type: ignore[attr-defined]
    reading.serve_from(store := MemoryStore())
    yield store
    reading.serve_from(None)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["limits", *arguments])


def use(store: MemoryStore, key: ClientKey) -> None:
    """One request of this key runs, and holds what it asked for."""
    snapshot = load()
    (facts,) = (each for each in overview.keys_of(snapshot) if each.id == key.id)
    meters = tuple(line.meter for line in overview.of_key(snapshot, facts).lines)
    store.seed_now([])
    amounts = tuple(30 if meter.dimension is Dimension.INPUT_TOKENS else 1 for meter in meters)
    store.reserve_now(Want(new_id(), meters, amounts))


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
    assert "output tokens per hour, only claude-opus-*" in lines
    assert "DOMAIN_RATE_LIMIT_MAX_REQUESTS" in lines["requests per hour"]
    assert "of the one serving process" in said.output


def test_the_defaults_end_where_a_key_has_a_limit_of_its_own(issued: Issued, serving: MemoryStore) -> None:
    key, _ = issued
    assert " RATE_LIMIT_MAX_TOKENS" in run(key.name).output
    RateLimit.objects.create(client_key=key)
    assert " RATE_LIMIT_MAX_TOKENS" not in run(key.name).output


def test_a_program_reads_it_as_json(issued: Issued, serving: MemoryStore) -> None:
    key, _ = issued
    Budget.objects.create(name="Team", domain=key.domain, amount_usd=Decimal("12.5"), period="day")
    told = json.loads(run(str(key.id), "--json").output)
    (money,) = (each for each in told["limits"] if each["dimension"] == "money")
    assert (money["name"], money["limit"], money["is_known"]) == ("budget Team", "12.5000000000", False)
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


def test_where_nobody_has_served_it_says_so(issued: Issued, settings: object, tmp_path: object) -> None:
    settings.REDIS_URL, settings.NEXUS_DATA = "", tmp_path  # type: ignore[attr-defined]
    said = run(issued[0].name)
    assert said.exit_code == 0
    assert "not known" in said.output
    assert "no process has served here yet" in said.output
