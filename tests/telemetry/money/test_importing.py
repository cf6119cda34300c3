import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from accounts.models import Installation
from nexus.cli import main
from telemetry.models import PriceRow
from telemetry.money.pricefile import BadPriceFile, read
from telemetry.money.pricing import PriceList

pytestmark = pytest.mark.django_db(transaction=True)
MODEL = "claude-opus-5"
AS_IN_FORCE: dict[str, Any] = {
    "litellm_provider": "anthropic",
    "mode": "chat",
    "input_cost_per_token": 5e-06,
    "output_cost_per_token": 2.5e-05,
    "cache_creation_input_token_cost": 6.25e-06,
    "cache_creation_input_token_cost_above_1hr": 1e-05,
    "cache_read_input_token_cost": 5e-07,
    "max_input_tokens": 1_000_000,
    "provider_specific_entry": {"fast": 2.0, "us": 1.1},
    "search_context_cost_per_query": {f"search_context_size_{size}": 0.01 for size in ("low", "medium", "high")},
    "supports_vision": True,
}
SAMPLE = {"sample_spec": {"litellm_provider": "one of …", "input_cost_per_token": "0.0", "mode": "chat"}}


@pytest.fixture(autouse=True)
def _prices(seeded: PriceList) -> None:
    Installation.current()


def entry(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (AS_IN_FORCE | changes).items() if value is not None}


def imported(tmp_path: Path, models: Any, *options: str, answer: str = "") -> Result:
    file = tmp_path / "prices.json"
    file.write_text(models if isinstance(models, str) else json.dumps(SAMPLE | models))
    return CliRunner().invoke(main, ["import-prices", str(file), *options], input=answer)


def newest(model: str) -> PriceRow:
    row: PriceRow = PriceRow.objects.filter(pattern=model).latest("valid_from")
    return row


def test_nothing_new_is_said_and_is_no_failure(tmp_path: Path) -> None:
    count = PriceRow.objects.count()
    done = imported(tmp_path, {MODEL: entry()}, "--yes")
    assert done.exit_code == 0
    assert "0 new, 0 changed, 1 unchanged." in done.output
    assert "Suspicious" not in done.output
    assert PriceRow.objects.count() == count


def test_a_new_model_gets_all_its_figures(tmp_path: Path) -> None:
    done = imported(tmp_path, {"claude-opus-9": entry(provider_specific_entry={"us": 1.1})}, "--yes")
    assert done.exit_code == 0, done.output
    assert "Added 1 prices." in done.output
    row = newest("claude-opus-9")
    assert (row.input, row.output) == (Decimal(5), Decimal(25))
    assert (row.cache_write_5m, row.cache_write_1h, row.cache_read) == (Decimal("6.25"), Decimal(10), Decimal("0.5"))
    assert (row.us_factor, row.batch_factor, row.web_search_per_thousand) == (
        Decimal("1.1"),
        Decimal("0.5"),
        Decimal(10),
    )
    assert row.fast_factor is row.long_input is None
    assert row.source.startswith("prices.json, SHA-256 ")


def test_a_new_model_without_cache_prices_gets_them_by_the_rule(tmp_path: Path) -> None:
    models = {"claude-opus-9": {"litellm_provider": "anthropic", "mode": "chat", "input_cost_per_token": 7e-06,
                                "output_cost_per_token": 1e-05}}  # fmt: skip
    assert imported(tmp_path, models, "--yes").exit_code == 0
    row = newest("claude-opus-9")
    assert (row.cache_write_5m, row.cache_write_1h, row.cache_read) == (Decimal("8.75"), Decimal(14), Decimal("0.7"))


def test_a_change_is_a_newer_row_and_the_old_one_stays(tmp_path: Path) -> None:
    before = newest(MODEL)
    generation = Installation.current().generation
    done = imported(tmp_path, {MODEL: entry(output_cost_per_token=3e-05)}, "--yes")
    assert f"{MODEL}  output  25        30" in done.output
    assert "0 new, 1 changed, 0 unchanged." in done.output
    old, new = PriceRow.objects.get(id=before.id), newest(MODEL)
    assert (old.output, new.output, new.fast_factor) == (Decimal(25), Decimal(30), Decimal(2))
    assert new.valid_from > old.valid_from
    assert Installation.current().generation > generation
    again = imported(tmp_path, {MODEL: entry(output_cost_per_token=3e-05)}, "--yes")
    assert "0 changed, 1 unchanged." in again.output


def test_what_the_file_does_not_say_stays_as_it_is(tmp_path: Path) -> None:
    imported(tmp_path, {MODEL: entry(input_cost_per_token=5.5e-06, cache_read_input_token_cost=None,
                                     provider_specific_entry=None)}, "--yes")  # fmt: skip
    row = newest(MODEL)
    assert (row.cache_read, row.fast_factor, row.us_factor) == (Decimal("0.5"), Decimal(2), Decimal("1.1"))


def test_numbers_are_read_exactly(tmp_path: Path) -> None:
    text = json.dumps({MODEL: entry()}).replace('"input_cost_per_token": 5e-06', '"input_cost_per_token": 0.00000512')
    (found,) = read(text.encode()).entries
    assert found.values["input"] == Decimal("5.12")


def test_other_providers_modes_and_the_sample_are_passed_over(tmp_path: Path) -> None:
    models = {
        MODEL: entry(),
        "bedrock/claude": entry(litellm_provider="bedrock", input_cost_per_token="many"),
        "claude-embed": entry(mode="embedding"),
        "us/claude-opus-5": entry(),
        "claude-*": entry(),
        "claude-free": entry(input_cost_per_token=0),
    }
    done = imported(tmp_path, models, "--yes")
    assert "0 new, 0 changed, 1 unchanged." in done.output
    assert "Passed over 'us/claude-opus-5': it is not a model's id." in done.output
    assert "Passed over 'claude-*': it is not a model's id." in done.output
    assert "Passed over 'claude-free': it has no price of input." in done.output


LONG = {"input_cost_per_token_above_200k_tokens": 1e-05, "output_cost_per_token_above_200k_tokens": 5e-05}
DOUBTED: list[tuple[dict[str, Any], str, str, str]] = [
    ({"provider_specific_entry": {"fast": 6.0}}, "fast_factor", "6", "the API's price list has 2"),
    ({"provider_specific_entry": {"us": 1.2}}, "us_factor", "1.2", "the API's price list has 1.1"),
    ({"cache_creation_input_token_cost_above_1hr": 6e-06}, "cache_write_1h", "6", "it is not 2 times input"),
    ({"cache_creation_input_token_cost": 5e-06}, "cache_write_5m", "5", "it is not 1.25 times input"),
    ({"cache_read_input_token_cost": 6e-06}, "cache_read", "6", "it is dearer than a tenth of input"),
    ({"max_input_tokens": 200_000} | LONG, "long_output", "50", "the model takes no more than 200,000 tokens"),
    ({"output_cost_per_token": 0.025}, "output", "25000", "it is ten times what is in force, or a tenth"),
    ({"output_cost_per_token": 2.5e-06}, "output", "2.5", "it is ten times what is in force, or a tenth"),
    ({"search_context_cost_per_query": {"search_context_size_low": 0.02, "search_context_size_high": 0.03}},
     "web_search_per_thousand", "20", "it depends on the size of a search"),
    ({"output_cost_per_token": 2.50000000001e-05}, "output", "25.0000000001", "it has more digits than a price"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "field", "value", "reason"), DOUBTED)
def test_a_suspicious_value_is_told_and_taken_only_if_accepted(
    tmp_path: Path, changes: dict[str, Any], field: str, value: str, reason: str
) -> None:
    before = getattr(newest(MODEL), field)
    done = imported(tmp_path, {MODEL: entry(**changes)}, "--yes")
    assert "Suspicious, left out:" in done.output
    (told,) = [line for line in done.output.splitlines() if reason in line and line.split()[1] == field]
    assert told.split()[:3] == [MODEL, field, value]
    assert getattr(newest(MODEL), field) == before
    done = imported(tmp_path, {MODEL: entry(**changes)}, "--yes", "--accept-suspicious")
    assert done.exit_code == 0
    assert getattr(newest(MODEL), field) == round(Decimal(value), 6)


def test_a_fast_mode_that_the_api_does_not_have_is_left_out_of_a_new_model(tmp_path: Path) -> None:
    done = imported(tmp_path, {"claude-opus-9": entry(provider_specific_entry={"fast": 6.0})}, "--yes")
    assert "the API's price list has no fast mode for it" in done.output
    assert newest("claude-opus-9").fast_factor is None


def test_longer_prompts_are_taken_of_models_that_take_them(tmp_path: Path) -> None:
    done = imported(tmp_path, {MODEL: entry(**LONG)}, "--yes")
    assert "Suspicious" not in done.output
    row = newest(MODEL)
    assert (row.long_input, row.long_output) == (Decimal(10), Decimal(50))
    assert row.long_cache_read is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "It is not JSON"),
        ("{", "It is not JSON"),
        ("[" * 100_000, "It is not JSON"),
        ("[]", "It is JSON, but not an object of models."),
        ("{}", "It has no model of provider anthropic."),
        ('{"a": 5}', "'a' is not an object of prices."),
        ('{"a": {"litellm_provider": "openai"}}', "It has no model of provider anthropic."),
        ('{"a": {}, "a": {}}', "The name 'a' is there twice."),
        ("NaN", "NaN is not a price."),
        ('{"a": {"x": Infinity}}', "Infinity is not a price."),
        ('{"a": 1' + "0" * 5000 + "}", "It is not JSON"),
    ],
)
def test_a_file_that_is_none_is_refused_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    count = PriceRow.objects.count()
    done = imported(tmp_path, text, "--yes")
    assert done.exit_code == 1
    assert sentence in done.output
    assert "Traceback" not in done.output
    assert PriceRow.objects.count() == count


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        ('"0.000005"', "output_cost_per_token is '0.000005', not a number."),
        ("true", "output_cost_per_token is 'True', not a number."),
        ("[1]", "output_cost_per_token is '[1]', not a number."),
        ("-1e-06", "output_cost_per_token is negative."),
        ("1e+30", "output_cost_per_token is far too large."),
        ("1e+999999999", "output_cost_per_token is far too large."),
        ("1e-999999999", ""),
        ("500", "output_cost_per_token is far too large."),
    ],
)
def test_one_bad_number_refuses_the_whole_file(tmp_path: Path, number: str, sentence: str) -> None:
    count = PriceRow.objects.count()
    good = entry(input_cost_per_token=6e-06)
    text = json.dumps({"claude-good": good, MODEL: entry(output_cost_per_token="HERE")})
    done = imported(tmp_path, text.replace('"HERE"', number), "--yes")
    if sentence:
        assert done.exit_code == 1
        assert f"{MODEL}: {sentence}" in done.output
        assert PriceRow.objects.count() == count
    assert done.exception is None or isinstance(done.exception, SystemExit)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["import-prices", str(tmp_path / "none.json")])
    assert (done.exit_code, "does not exist" in done.output) == (2, True)


def test_it_asks_first(tmp_path: Path) -> None:
    count = PriceRow.objects.count()
    models = {"claude-opus-9": entry()}
    assert imported(tmp_path, models, answer="n\n").exit_code == 1
    assert imported(tmp_path, models, "--dry-run").exit_code == 0
    assert PriceRow.objects.count() == count
    assert imported(tmp_path, models, answer="y\n").exit_code == 0
    assert PriceRow.objects.count() == count + 1


def test_a_moment_of_its_own(tmp_path: Path) -> None:
    done = imported(tmp_path, {"claude-opus-9": entry()}, "--yes", "--valid-from", "2026-01-02T03:04:05")
    assert "until you run `nexus reprice --since 2026-01-02T03:04:05`" in done.output
    assert newest("claude-opus-9").valid_from == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    done = imported(tmp_path, {"claude-opus-9": entry()}, "--yes", "--valid-from", "2025-12-31")
    assert "claude-opus-9 has a price that begins later, 2026-01-02 03:04; it stays." in done.output
    assert imported(tmp_path, {}, "--valid-from", "soon").exit_code == 2


def test_all_rows_are_added_or_none(tmp_path: Path) -> None:
    when = ("--yes", "--valid-from", "2026-01-01")
    assert imported(tmp_path, {MODEL: entry(output_cost_per_token=2.6e-05)}, *when).exit_code == 0
    done = imported(tmp_path, {"claude-opus-9": entry(), MODEL: entry(output_cost_per_token=2.7e-05)}, *when)
    assert done.exit_code == 1
    assert f"{MODEL}: There is a price of this model from that moment on already" in done.output
    assert "Nothing was added." in done.output
    assert newest(MODEL).output == Decimal(26)
    assert not PriceRow.objects.filter(pattern="claude-opus-9").exists()


def test_what_is_read_is_not_larger_than_a_price_file() -> None:
    with pytest.raises(BadPriceFile, match="no price file is that large"):
        read(b" " * (50 * 1024 * 1024 + 1))


@pytest.mark.parametrize(
    ("per_token", "reason"), [(3.0, "no model is that dear"), (3e-13, "it has more digits than a price")]
)
def test_a_new_model_whose_price_is_in_doubt_gets_none(tmp_path: Path, per_token: float, reason: str) -> None:
    """Such as a price per million tokens where one per token belongs."""
    models = {"claude-new-6": entry(input_cost_per_token=per_token, output_cost_per_token=1.5e-05)}
    done = imported(tmp_path, models, "--yes")
    assert done.exit_code == 0
    assert reason in done.output
    assert "Passed over 'claude-new-6': it is new, and its price of input is in doubt." in done.output
    assert "0 new, 0 changed, 0 unchanged." in done.output
    assert not PriceRow.objects.filter(pattern="claude-new-6").exists()
    assert imported(tmp_path, models, "--yes", "--accept-suspicious").exit_code == 0
    assert PriceRow.objects.filter(pattern="claude-new-6").exists()
