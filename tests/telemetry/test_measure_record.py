"""`manage.py measure_record`, which `bench.record_scale` runs."""

import io

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection  # noqa: F401 (a mark below reads it)

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_refuses_where_there_is_nothing_to_measure() -> None:
    with pytest.raises(CommandError, match="fill_record"):
        call_command("measure_record")


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="plans are PostgreSQL's")
def test_it_prints_tables_and_leaves_nobody_behind() -> None:
    call_command("fill_record", exchanges=1000, stderr=io.StringIO())
    told = io.StringIO()
    call_command("measure_record", runs=2, only="API detail", store_batches=1, stdout=told)
    lines = told.getvalue().splitlines()
    assert [line for line in lines if line.startswith("| API detail | 2 | ")]
    assert [line for line in lines if line.startswith("| telemetry_exchange, all | 1,000 | ")]
    assert [line for line in lines if line.startswith("| with bodies | ")]
    assert not User.objects.exists()
