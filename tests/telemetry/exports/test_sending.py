"""What the telemetry endpoint hears: everything once it can, in batches, and never more than may wait."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from uuid import UUID

import httpx
import pytest
from django.core.cache import cache
from django.db import connections
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.ids import new_id
from accounts.models import ClientKey, Domain
from telemetry.exports import sending
from telemetry.exports.conf import ExportConf
from telemetry.models import ExchangeRow, ExportRow
from telemetry.record.exchange import Outcome, Pricing
from tests.telemetry.exports.endpoint import Endpoint, endpoint
from tests.telemetry.facts import stored_exchange

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def heard() -> Iterator[Endpoint]:
    with endpoint() as found:
        yield found


@pytest.fixture(autouse=True)
def conf(heard: Endpoint, settings: Settings) -> ExportConf:
    cache.clear()
    conf = ExportConf(endpoint=heard.url, batch_size=10, timeout_seconds=5)
    settings.EXPORT = conf
    return conf


def rested() -> None:
    cache.delete(sending.RESTS)


def ids(count: int) -> list[str]:
    return [str(stored_exchange().id) for _ in range(count)]


def test_an_exchange_is_told_with_the_names_of_the_original(heard: Endpoint, conf: ExportConf) -> None:
    domain = Domain.objects.create(host="claude.example.com")
    key, _ = ClientKey.issue(domain, "a key")
    one = stored_exchange(
        domain_id=domain.id,
        client_key_id=key.id,
        tool_calls=2,
        pricing=Pricing.PRICED,
        cost=Decimal("0.0012345678"),
        outcome=Outcome.API_ERROR,
        status=529,
        error_type="overloaded_error",
    )

    assert sending.send(conf) == 1

    [[fact]] = heard.bodies
    assert fact == {
        "requestId": str(one.id),
        "timestamp": one.started_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "domain": "claude.example.com",
        "apiKey": f"nxs_live_…{key.last4}",
        "model": "claude-haiku-4-5-20251001",
        "inputTokens": 10,
        "outputTokens": 20,
        "duration": 1234,
        "status": 529,
        "error": "overloaded_error",
        "toolCallCount": 2,
        "requestType": "inference",
        "cacheReadTokens": 30,
        "cacheWriteTokens": 90,
        "costUsd": "0.0012345678",
        "outcome": "api_error",
    }


def test_without_an_error_there_is_no_error_and_without_a_price_no_cost(heard: Endpoint, conf: ExportConf) -> None:
    stored_exchange(pricing=Pricing.UNPRICED, cost=None)
    sending.send(conf)
    [[fact]] = heard.bodies
    assert "error" not in fact
    assert fact["costUsd"] is None
    assert (fact["domain"], fact["apiKey"]) == ("unknown", "unknown")


def test_they_come_in_batches_and_in_order(heard: Endpoint, conf: ExportConf) -> None:
    expected = ids(25)
    assert sending.send(conf) == 25
    assert heard.request_ids == expected
    assert [len(body) for body in heard.bodies] == [10, 10, 5]
    assert not ExportRow.objects.exists()


def test_a_batch_size_of_one_sends_the_original_s_single_objects(heard: Endpoint, conf: ExportConf) -> None:
    expected = ids(3)
    assert sending.send(replace(conf, batch_size=1)) == 3
    assert [body["requestId"] for body in heard.bodies] == expected


@pytest.mark.parametrize("trouble", [(500, {}), (429, {"retry-after": "7"}), (401, {}), (302, {}), (0, {})])
def test_after_trouble_everything_comes_and_nothing_twice(
    heard: Endpoint, conf: ExportConf, trouble: tuple[int, dict[str, str]]
) -> None:
    expected = ids(15)
    heard.answers = [trouble]
    assert sending.send(conf) == 0
    assert sending.send(conf) == 0  # it rests
    assert not heard.bodies
    rested()
    assert sending.send(conf) == 15
    assert heard.request_ids == expected


def test_an_endpoint_that_is_away_is_left_alone_for_longer_each_time() -> None:
    rests = [sending._rest_seconds(failures) for failures in range(1, 12)]
    assert all(0.75 * 5 * 2**n <= rest <= 5 * 2**n for n, rest in enumerate(rests[:7]))
    assert max(rests) <= sending.LONGEST_REST_SECONDS


@pytest.mark.parametrize("size", [1, 10])
def test_what_the_endpoint_refuses_is_given_up_and_the_rest_is_not(
    heard: Endpoint, conf: ExportConf, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    expected = ids(5)
    heard.refuses = poison = expected.pop(2)
    for _ in range(sending.TRIES_ALONE):
        assert ExportRow.objects.exists()
        sending.send(replace(conf, batch_size=size))
        rested()
    assert sorted(heard.request_ids) == expected
    assert not ExportRow.objects.exists()
    assert caplog.text.count(poison) == 1
    assert "fake-token" not in caplog.text


def test_an_endpoint_that_refuses_everything_gets_everything_later(
    heard: Endpoint, conf: ExportConf, caplog: pytest.LogCaptureFixture
) -> None:
    expected = ids(15)
    heard.refuses_all = True
    for _ in range(2 * sending.TRIES_ALONE):
        assert sending.send(conf) == 0
        asked = heard.asked
        sending.send(conf)
        assert heard.asked == asked  # it rests
        rested()
    assert caplog.text.count("refuses everything with 400") == 1
    heard.refuses_all = False
    assert sending.send(conf) == 15
    assert heard.request_ids == expected


def test_beyond_the_bound_the_oldest_are_given_up_also_while_the_endpoint_rests(
    heard: Endpoint, conf: ExportConf, caplog: pytest.LogCaptureFixture
) -> None:
    expected = ids(12)
    cache.set(sending.RESTS, True)
    bounded = replace(conf, max_waiting=5)
    sending.send(bounded)
    assert ExportRow.objects.count() == 5
    expected += ids(2)
    sending.send(bounded)
    assert ExportRow.objects.count() == 5
    assert caplog.text.count("the telemetry endpoint is behind: 7 exchanges are not sent") == 1
    assert caplog.text.count("is behind") == 1
    rested()
    sending.send(bounded)
    assert heard.request_ids == expected[-5:]


@pytest.mark.parametrize("size", [1, 10])
def test_a_run_ends_in_time_however_slow_the_endpoint_is(heard: Endpoint, conf: ExportConf, size: int) -> None:
    expected = ids(40)
    heard.answers_after_seconds = 0.2
    heard.refuses = expected[0]  # so that a batch is sent one by one
    began = time.monotonic()
    sending.send(replace(conf, batch_size=size), seconds=0.5)
    assert time.monotonic() - began < 2
    assert 0 < len(heard.request_ids) < 40
    heard.answers_after_seconds, heard.refuses = 0, ""
    sending.send(conf)
    assert sorted(heard.request_ids) == expected  # nothing was kept back, nothing came twice


def test_an_endpoint_that_takes_too_long_gets_everything_later(heard: Endpoint, conf: ExportConf) -> None:
    expected = ids(3)
    heard.answers_after_seconds = 0.5
    assert sending.send(replace(conf, timeout_seconds=0.1)) == 0
    assert ExportRow.objects.count() == 3
    heard.answers_after_seconds = 0
    rested()
    assert sending.send(conf) == 3
    assert heard.request_ids[-3:] == expected  # perhaps for the second time


def test_what_a_worker_took_and_died_with_comes_back(heard: Endpoint, conf: ExportConf) -> None:
    expected = ids(3)
    assert len(sending._take(10)) == 3
    assert sending.send(conf) == 0
    ExportRow.objects.update(due_at=timezone.now() - timedelta(seconds=1))  # as if the lease were over
    assert sending.send(conf) == 3
    assert heard.request_ids == expected


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("7", 7), ("0", 1), ("100000", 600), ("", None), ("soon", None), ("²", None), ("-5", None), ("1.5", None)],
)
def test_how_long_an_endpoint_wants_to_be_left_alone(said: str, seconds: float | None) -> None:
    answer = httpx.Response(429, headers=[(b"retry-after", said.encode("latin-1"))])
    assert sending._wanted_seconds(answer) == seconds


def test_an_endpoint_may_name_a_time() -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert sending._wanted_seconds(httpx.Response(503, headers={"retry-after": at})) == pytest.approx(100, abs=5)
    past = "Mon, 23 Nov 2020 06:00:00 GMT"
    assert sending._wanted_seconds(httpx.Response(503, headers={"retry-after": past})) == 1
    without_zone = "Mon, 23 Nov 2020 06:00:00"
    assert sending._wanted_seconds(httpx.Response(503, headers={"retry-after": without_zone})) is None


def test_what_is_no_longer_on_record_is_forgotten(heard: Endpoint, conf: ExportConf) -> None:
    gone, there = ids(2)
    ExchangeRow.objects.filter(id=UUID(gone)).delete()
    assert sending.send(conf) == 2
    assert heard.request_ids == [there]


def test_without_an_endpoint_nothing_is_entered(settings: Settings, conf: ExportConf) -> None:
    settings.EXPORT = ExportConf()
    ids(1)
    assert not ExportRow.objects.exists()
    assert sending.send(settings.EXPORT) == 0


def test_two_workers_send_nothing_twice(heard: Endpoint, conf: ExportConf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "TAKEN_AT_LEAST", 7)
    expected = ids(100)
    together = threading.Barrier(3)

    def work() -> None:
        try:
            together.wait(10)
            for _ in range(20):
                sending.send(replace(conf, batch_size=3))
        finally:
            connections.close_all()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(heard.request_ids) == expected


def test_an_exchange_that_is_stored_twice_waits_once(conf: ExportConf) -> None:
    from telemetry.record.store import store
    from tests.telemetry.facts import closed

    one = closed(id=new_id())
    store([one])
    store([one])
    assert ExportRow.objects.count() == 1


def test_an_endpoint_that_goes_away_amid_a_refused_batch_costs_one_short_try(heard: Endpoint, conf: ExportConf) -> None:
    expected = ids(10)
    heard.answers = [(413, {}), (200, {}), *[(0, {})] * 9]
    assert sending.send(conf) == 1
    assert heard.request_ids == expected[:1]
    assert len(heard.answers) == 8  # one of them was asked for alone, and none after it
    rested()
    heard.answers = []
    assert sending.send(conf) == 9
    assert heard.request_ids == expected
