"""All limits and budgets about somebody, how full they are, and why some do not count."""

from decimal import Decimal
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import Budget, ClientKey, Credential, Domain, RateLimit
from telemetry.limits import overview
from telemetry.limits.conf import DefaultLimit, LimitsConf
from telemetry.limits.lines import Line, fullest
from telemetry.limits.memory import MemoryStore
from telemetry.limits.meters import as_units
from telemetry.limits.reading import count_nowhere
from telemetry.limits.statefile import StateFile
from telemetry.limits.store import Seed
from tests.telemetry.facts import stored_exchange
from tests.telemetry.limits.meters import want

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def store(settings: Settings, tmp_path: Path) -> MemoryStore:
    """Of a process that serves without Redis; its figures come by the file."""
    settings.REDIS_URL, settings.NEXUS_DATA = "", tmp_path
    settings.LIMITS = LimitsConf(
        client_key=DefaultLimit(max_requests=100, max_tokens=1000), domain=DefaultLimit(max_requests=500)
    )
    count_nowhere()
    return MemoryStore()


def told(lines: list[Line]) -> list[tuple[str, str, str, str]]:
    return [(line.meter.label, line.what, line.origin.words, line.why_not) for line in lines]


def test_the_defaults_of_the_environment_count_by_the_names_of_their_variables(
    issued: tuple[ClientKey, str],
) -> None:
    key, domain = "client key Ada's laptop", "domain claude.example.com"
    assert told(overview.of_key(issued[0]).lines) == [
        (key, "requests per hour", "RATE_LIMIT_MAX_REQUESTS", ""),
        (key, "tokens per hour", "RATE_LIMIT_MAX_TOKENS", ""),
        (domain, "requests per hour", "DOMAIN_RATE_LIMIT_MAX_REQUESTS", ""),
    ]


def test_what_is_replaced_or_switched_off_is_there_and_says_so(
    issued: tuple[ClientKey, str], domain: Domain, other_domain: Domain, credential: Credential
) -> None:
    key, _ = issued
    RateLimit.objects.create(client_key=key, requests_per_minute=5)
    RateLimit.objects.create(domain=domain, model_pattern="claude-opus-*", concurrent_requests=2)
    RateLimit.objects.create(domain=domain, output_tokens_per_hour=7, is_active=False)
    RateLimit.objects.create(credential=credential, requests_per_hour=9)
    RateLimit.objects.create(requests_per_hour=90)
    RateLimit.objects.create(domain=other_domain, requests_per_hour=1)
    found = overview.of_key(key)
    assert [(line.meter.scope, line.what, line.meter.model_pattern) for line in found.counting] == [
        ("key", "requests per minute", ""),
        ("domain", "requests per hour", ""),
        ("domain", "concurrent requests", "claude-opus-*"),
        ("credential", "requests per hour", ""),
        ("all", "requests per hour", ""),
    ]
    assert [(line.origin.words, line.why_not) for line in found.others] == [
        ("RATE_LIMIT_MAX_REQUESTS", "replaced by the limit of client key Ada's laptop"),
        ("RATE_LIMIT_MAX_TOKENS", "replaced by the limit of client key Ada's laptop"),
        ("limit of domain claude.example.com", "switched off"),
    ]


def test_it_tells_how_full_each_is_and_when_there_is_room(issued: tuple[ClientKey, str], store: MemoryStore) -> None:
    key, _ = issued
    RateLimit.objects.create(client_key=key, requests_per_minute=2, concurrent_requests=4)
    budget = Budget.objects.create(name="Monthly", client_key=key, amount_usd=Decimal(10))
    meters = {line.what: line.meter for line in overview.of_key(key).counting}
    store.seed_now([Seed(meters["money"], as_units(Decimal("2.5")), frozenset())])
    for _ in range(2):
        store.reserve_now(want(meters["requests per minute"], meters["concurrent requests"]))
    serve(store)
    lines = {line.what: line for line in overview.of_key(key).counting}
    assert [(what, line.used, line.share) for what, line in lines.items() if line.meter.scope == "key"] == [
        ("requests per minute", 2, 1.0),
        ("concurrent requests", 2, 0.5),
        ("money", as_units(Decimal("2.5")), 0.25),
    ]
    assert lines["requests per minute"].is_full
    assert lines["requests per minute"].frees.startswith("in ")
    assert lines["concurrent requests"].frees == ""
    assert lines["money"].origin.id == budget.id
    assert fullest(list(lines.values())) == lines["requests per minute"]


def serve(store: MemoryStore) -> None:
    """As a process that has served until now left it."""
    file = StateFile(store, Path(settings.NEXUS_DATA))
    file.open()
    file.close()


def test_a_budget_that_no_counter_knows_is_told_by_the_record(domain: Domain) -> None:
    budget = Budget.objects.create(name="Monthly", domain=domain, amount_usd=Decimal(10))
    stored_exchange(domain_id=domain.id, cost=Decimal("2.5"), pricing="priced")
    (line,) = [line for line in overview.of_domain(domain).counting if line.origin.id == budget.id]
    assert (line.is_known, line.share) == (True, 0.25)
    assert overview.of_budgets([budget])[budget.id] == [line]


def test_of_each_user_the_fullest_are_named(domain: Domain, other_domain: Domain) -> None:
    budget = Budget.objects.create(name="Each", domain=domain, amount_usd=Decimal(10), each="user", period="day")
    for name, cost in (("ada", "1"), ("grace", "4"), ("ada", "2"), ("", "100")):
        stored_exchange(domain_id=domain.id, user_id=name, cost=Decimal(cost), pricing="priced")
    stored_exchange(domain_id=other_domain.id, user_id="eve", cost=Decimal(50), pricing="priced")
    assert [(line.person, line.share) for line in overview.of_budget(budget).lines] == [("grace", 0.4), ("ada", 0.3)]


def test_of_each_key_the_fullest_are_named(issued: tuple[ClientKey, str], domain: Domain) -> None:
    key, _ = issued
    other, _ = ClientKey.issue(domain, "another")
    budget = Budget.objects.create(name="Each", domain=domain, amount_usd=Decimal(10), each="key", period="day")
    stored_exchange(domain_id=domain.id, client_key_id=key.id, cost=Decimal(4), pricing="priced")
    assert [(line.person, line.share) for line in overview.of_budget(budget).lines] == [
        ("Ada's laptop", 0.4),
        ("another", 0),
    ]
    assert [line.origin.id for line in overview.of_key(other).counting if line.meter.account] == [budget.id]


def test_a_hundred_keys_cost_no_more_queries_than_one(
    domain: Domain, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(100):
        key, _ = ClientKey.issue(domain, f"key {number}")
        RateLimit.objects.create(client_key=key, requests_per_minute=5)
    Budget.objects.create(name="Each", domain=domain, amount_usd=Decimal(10), each="key")
    keys = list(ClientKey.objects.select_related("domain"))
    with django_assert_num_queries(2):
        found = overview.of_keys(keys)
    assert {len(lines) for lines in found.values()} == {4}


def test_a_budget_of_last_month_begins_anew(domain: Domain) -> None:
    budget = Budget.objects.create(name="Monthly", domain=domain, amount_usd=Decimal(10))
    (line,) = overview.of_budget(budget).lines
    assert line.frees_at
    assert line.frees_at > timezone.now()
    budget.period = "total"
    assert [line.frees for line in overview.of_budget(budget).lines] == ["never"]
