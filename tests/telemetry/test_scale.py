"""What it costs to read a record that is not small: every list goes through an index, whatever is asked for."""

from time import perf_counter

import pytest
from django.core.management import call_command
from django.db import connection  # noqa: F401 (the mark below reads it)

from telemetry.models import ExchangeRow
from telemetry.scale.looking import Visitors, visitors
from telemetry.scale.pages import Page, details, figures, lists, quietest_domains
from telemetry.scale.plans import statements

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="plans are PostgreSQL's"),
]
EXCHANGES = 20_000
MOST_SECONDS = 1.0
"""For one page. It takes a hundredth of that; this is for slow machines."""


def scanned(people: Visitors, page: Page) -> set[str]:
    with statements() as seen:
        began = perf_counter()
        people.visit(page)
        assert perf_counter() - began < MOST_SECONDS, page.url
    return {table for statement in seen for table in statement.plan().sequential_scans()}


def test_no_list_reads_a_whole_table() -> None:
    call_command("fill_record", exchanges=EXCHANGES, with_bodies=0.02)
    with visitors(quietest_domains(2)) as people:
        scans = {page.url: found for page in lists() if (found := scanned(people, page))}
        assert scans == {}
        for page in (*details(), *figures()):
            people.visit(page)


def test_a_query_without_an_index_is_noticed() -> None:
    call_command("fill_record", exchanges=2_000, with_bodies=0)
    with statements() as seen:
        assert not ExchangeRow.objects.filter(user_agent="nobody's").exists()
    (plan,) = [statement.plan() for statement in seen]
    assert plan.sequential_scans() == {"telemetry_exchange"}
    assert plan.rows_read() == 2_000
