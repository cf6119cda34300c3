import html
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from accounts.ids import first_id_at, new_id
from telemetry.models import Adjustment, ExchangeRow, PriceRow, RepricingRow
from telemetry.money.repricing import Scope, reprice
from telemetry.money.repricings import go_on
from telemetry.money.unpriced import unpriced_models
from tests.telemetry.facts import stored_exchange

pytestmark = pytest.mark.django_db(transaction=True)

PRICES = "/admin/telemetry/pricerow/"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
FUTURE = timezone.now() + timedelta(days=9)


@pytest.fixture(autouse=True)
def _only_prices_of_the_test() -> None:
    PriceRow.objects.all().delete()


def form(**changes: Any) -> dict[str, Any]:
    figures = {"input": "5", "output": "25", "cache_write_5m": "6.25", "cache_write_1h": "10", "cache_read": "0.5"}
    others = {"batch_factor": "0.5", "long_above_tokens": "200000", "web_search_per_thousand": "10", "source": "a test"}
    when = {"valid_from_0": f"{FUTURE:%Y-%m-%d}", "valid_from_1": f"{FUTURE:%H:%M:%S}"}
    return {"pattern": "claude-new"} | when | figures | others | changes


PAST = {"valid_from_0": "2026-11-22", "valid_from_1": "12:00:00"}


def posted(client: Client, url: str, data: dict[str, Any]) -> str:
    return html.unescape(client.post(url, data, follow=True).content.decode())


def price(pattern: str, valid_from: datetime = NOON, usd: int = 5) -> PriceRow:
    rates = {name: Decimal(usd) for name in ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")}
    return PriceRow.objects.create(pattern=pattern, valid_from=valid_from, source="a test", **rates)


def stored(answered_model: str, at: datetime = NOON, **changes: Any) -> UUID:
    row_id = UUID(int=first_id_at(at).int | new_id().int & 0xFFFFFFFF)
    values = {"usage": "", "pricing": "unpriced"} | changes
    return stored_exchange(id=row_id, started_at=at, answered_model=answered_model, **values).id


# Adding.


def test_a_price_is_added_for_later_without_a_warning(admin_client: Client) -> None:
    page = posted(admin_client, f"{PRICES}add/", form())
    assert PriceRow.objects.get().input == 5
    assert "was added successfully" in page
    assert "is saved as you wrote it" not in page
    assert "which has passed" not in page


def test_the_same_model_and_moment_is_refused_in_a_sentence(admin_client: Client) -> None:
    posted(admin_client, f"{PRICES}add/", form())
    page = posted(admin_client, f"{PRICES}add/", form(input="6"))
    assert "There is a price of this model from that moment on already." in page
    assert PriceRow.objects.get().input == 5


@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ({"cache_read": "5.01"}, "Reading from the cache is dearer than input."),
        ({"cache_write_5m": "4"}, "Writing to the cache is cheaper than input."),
        ({"cache_write_1h": "6"}, "A cache write for 1 hour is cheaper than one for 5 minutes."),
        ({"output": "4"}, "Output is cheaper than input."),
        ({"fast_factor": "0.5"}, "Fast mode is cheaper than the usual one."),
        ({"batch_factor": "1.5"}, "A message batch is dearer than single messages."),
        ({"input": "0", "cache_read": "0"}, "Input or output costs nothing"),
    ],
)
def test_what_makes_little_sense_is_saved_and_told(admin_client: Client, changes: dict[str, Any], doubt: str) -> None:
    page = posted(admin_client, f"{PRICES}add/", form(**changes))
    assert doubt in page
    assert "The price of claude-new is saved as you wrote it." in page
    assert PriceRow.objects.exists()


@pytest.mark.parametrize(
    "changes", [{"pattern": "a model"}, {"pattern": ""}, {"input": "-1"}, {"input": "NaN"}, {"input": ""},
                {"input": "0.0000001"}, {"long_above_tokens": "5"}, {"source": ""}]
)  # fmt: skip
def test_what_is_no_price_is_refused(admin_client: Client, changes: dict[str, Any]) -> None:
    assert "errorlist" in posted(admin_client, f"{PRICES}add/", form(**changes))
    assert not PriceRow.objects.exists()


def test_a_price_from_the_past_tells_how_many_exchanges_keep_their_cost(admin_client: Client) -> None:
    for model in ("claude-new", "claude-new", "claude-other"):
        stored(model)
    stored("claude-new", NOON - timedelta(seconds=1))
    page = posted(admin_client, f"{PRICES}add/", form(**PAST))
    row = PriceRow.objects.get()
    assert "The price of claude-new counts from 2026-11-22 12:00 UTC on, which has passed." in page
    assert "2 are of this model" in page
    assert f"{PRICES}reprice/?ids={row.id}" in page


# What has begun is fixed.


def test_a_price_that_has_begun_cannot_be_changed_or_deleted(admin_client: Client) -> None:
    row = price("claude-new")
    url = f"{PRICES}{row.id}/"
    page = html.unescape(admin_client.get(f"{url}change/").content.decode())
    assert "This price has begun" in page
    assert 'name="input"' not in page
    assert "add/?pattern=claude-new&input=5&output=5" in page
    posted(admin_client, f"{url}change/", form(input="99"))
    assert PriceRow.objects.get().input == 5
    assert admin_client.post(f"{url}delete/", {"post": "yes"}).status_code == 403
    admin_client.post(PRICES, {"action": "delete_selected", "_selected_action": [str(row.id)], "post": "yes"})
    assert PriceRow.objects.count() == 1


def test_a_price_that_has_not_begun_can_be_changed_and_deleted(admin_client: Client) -> None:
    row = price("claude-new", FUTURE)
    url = f"{PRICES}{row.id}/"
    posted(admin_client, f"{url}change/", form(input="99"))
    assert PriceRow.objects.get().input == 99
    assert admin_client.post(f"{url}delete/", {"post": "yes"}).status_code == 302
    assert not PriceRow.objects.exists()


def test_clocks_may_differ_a_little() -> None:
    assert price("a", timezone.now() + timedelta(minutes=4)).is_fixed()
    assert not price("b", timezone.now() + timedelta(minutes=6)).is_fixed()


def test_the_link_to_a_newer_row_fills_the_form(admin_client: Client) -> None:
    page = admin_client.get(f"{PRICES}add/?pattern=claude-new&input=5&output=25").content.decode()
    assert 'value="claude-new"' in page
    assert 'value="25"' in page


# Repricing.


def test_the_difference_is_shown_before_anything_changes(admin_client: Client) -> None:
    exchange_id = stored("claude-new")
    row = price("claude-new")
    asked = admin_client.post(PRICES, {"action": "reprice", "_selected_action": [str(row.id)]})
    page = admin_client.get(asked["Location"]).content.decode()
    assert "claude-new" in page
    assert "$0" in page
    assert "Reprice in the background" in page
    assert ExchangeRow.objects.get(id=exchange_id).pricing == "unpriced"
    assert not RepricingRow.objects.exists()


def test_it_runs_when_it_is_confirmed(admin_client: Client) -> None:
    exchange_id = stored("claude-new")
    other_id = stored("claude-other")
    row = price("claude-new")
    price("claude-other")
    page = posted(admin_client, f"{PRICES}reprice/?ids={row.id}", {})
    assert "Repricing has begun." in page
    while go_on(seconds=5):
        pass
    found = ExchangeRow.objects.get(id=exchange_id)
    assert (found.pricing, found.price_ids) == ("priced", str(row.id))
    assert ExchangeRow.objects.get(id=other_id).pricing == "unpriced"
    listed = admin_client.get("/admin/telemetry/repricingrow/").content.decode()
    assert "done " in listed
    assert "claude-new" in listed


def test_nothing_to_change_is_said(admin_client: Client) -> None:
    row = price("claude-new")
    page = admin_client.get(f"{PRICES}reprice/?ids={row.id}").content.decode()
    assert "Nothing of it would change." in page
    assert "Reprice in the background" not in page


def test_only_who_may_change_prices_may_reprice(client: Client) -> None:
    row = price("claude-new")
    looker = User.objects.create_user("looker", password="a-fake-password", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_pricerow"))
    client.force_login(looker)
    for answer in (client.get(f"{PRICES}reprice/?ids={row.id}"), client.post(f"{PRICES}reprice/?ids={row.id}")):
        assert answer.status_code == 403
    assert 'value="reprice"' not in client.get(PRICES).content.decode()
    assert not RepricingRow.objects.exists()


@pytest.mark.parametrize("ids", ["", "nonsense", str(new_id())])
def test_prices_that_are_gone_are_told_of(admin_client: Client, ids: str) -> None:
    page = admin_client.get(f"{PRICES}reprice/?ids={ids}", follow=True).content.decode()
    assert "These prices are not there any more." in page


# What has no price.


def test_models_without_a_price_are_told_with_what_they_used() -> None:
    stored("claude-new", NOON, input_tokens=5, output_tokens=7, cache_read_tokens=1, cache_write_5m_tokens=2,
           cache_write_1h_tokens=3)  # fmt: skip
    stored("claude-new", NOON + timedelta(hours=1))
    stored("", model="asked")
    stored("claude-free", pricing="free")
    price("asked")
    new, asked = unpriced_models()
    assert (new.model, new.count, new.since, new.has_price) == ("claude-new", 2, NOON, False)
    assert (new.last, new.input_tokens, new.output_tokens) == (NOON + timedelta(hours=1), 11 + 130, 7 + 20)
    assert (asked.model, asked.count, asked.has_price) == ("asked", 1, True)


def test_they_stand_above_the_prices_with_a_link(admin_client: Client) -> None:
    assert "Unpriced: used" not in admin_client.get(PRICES).content.decode()
    stored("claude-new")
    stored("<script>alert(1)</script>")
    page = admin_client.get(PRICES).content.decode()
    assert "Unpriced: used" in page
    assert "<script>alert(1)" not in page
    assert "add/?pattern=claude-new&amp;valid_from=2026-11-22+00%3A00%3A00" in page
    form_page = admin_client.get(f"{PRICES}add/?pattern=claude-new&valid_from=2026-11-22+00:00:00").content.decode()
    assert 'value="2026-11-22"' in form_page
    assert 'value="00:00:00"' in form_page


# What was corrected.


def test_adjustments_are_read_only_and_found_by_their_exchange(admin_client: Client) -> None:
    exchange_id = stored("claude-new")
    price("claude-new")
    reprice(Scope())
    adjustment = Adjustment.objects.get()
    url = "/admin/telemetry/adjustment/"
    for term in (exchange_id, adjustment.run_id):
        assert str(exchange_id) in admin_client.get(url, {"q": str(term)}).content.decode()
    assert str(exchange_id) not in admin_client.get(url, {"q": str(new_id())}).content.decode()
    assert admin_client.get(f"{url}add/").status_code == 403
    assert admin_client.post(f"{url}{adjustment.id}/delete/", {"post": "yes"}).status_code == 403


def test_an_exchange_shows_its_cost_its_prices_and_its_adjustments(admin_client: Client) -> None:
    exchange_id = stored("claude-new", input_tokens=1000, output_tokens=0, cache_read_tokens=0,
                         cache_write_5m_tokens=0, cache_write_1h_tokens=0, web_search_requests=0)  # fmt: skip
    list_url = "/admin/telemetry/exchangerow/"
    assert ">unpriced<" in admin_client.get(list_url).content.decode()
    row = price("claude-new")
    reprice(Scope())
    assert ">$0.005<" in admin_client.get(list_url).content.decode()
    page = admin_client.get(f"{list_url}{exchange_id}/change/").content.decode()
    assert f"{PRICES}{row.id}/change/" in page
    assert "claude-new from 2026-11-22" in page
    assert "unpriced → $0.005" in page
