"""An exchange in OpenTelemetry's words."""

from typing import Any
from uuid import uuid4

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes

from telemetry.record.exchange import Kind, Outcome, Pricing
from telemetry.traces.conventions import attributes_of, name_of, route_of
from tests.telemetry.facts import exchange

CANARY = "Bluebird-canary-0123456789"
FAKE_KEY = "nxs_live_fake-key-of-nobody-0123456789"


def said(**changes: Any) -> dict[str, Any]:
    return dict(attributes_of(exchange(**changes), "localhost", "api.anthropic.com"))


def test_every_name_is_one_of_the_conventions_or_ours() -> None:
    modules: list[Any] = [gen_ai_attributes, http_attributes, server_attributes, error_attributes]
    known = {value for module in modules for value in vars(module).values() if isinstance(value, str)}
    ours = {name for name in said(error_type="api_error", outcome=Outcome.API_ERROR) if name.startswith("nexus.")}
    assert said(error_type="api_error", outcome=Outcome.API_ERROR).keys() - known == ours


def test_cached_tokens_are_input_tokens() -> None:
    found = said(input_tokens=1, cache_read_tokens=20, cache_write_5m_tokens=300, cache_write_1h_tokens=4000)
    assert found["gen_ai.usage.input_tokens"] == 4321
    assert found["gen_ai.usage.cache_read.input_tokens"] == 20
    assert found["gen_ai.usage.cache_creation.input_tokens"] == 4300


def test_what_is_not_known_is_left_out() -> None:
    found = said(first_byte_ms=None, answered_model="", message_id="", stop_reason="", status=None, session_id="")
    assert (
        not {
            "gen_ai.response.time_to_first_chunk",
            "gen_ai.response.model",
            "gen_ai.response.id",
            "gen_ai.response.finish_reasons",
            "gen_ai.conversation.id",
            "http.response.status_code",
            "error.type",
            "nexus.cost_usd",
        }
        & found.keys()
    )
    assert said(pricing=Pricing.UNPRICED, cost=None)["nexus.pricing"] == "unpriced"
    assert said(first_byte_ms=250)["gen_ai.response.time_to_first_chunk"] == 0.25


@pytest.mark.parametrize("outcome", list(Outcome))
def test_what_is_an_error(outcome: Outcome) -> None:
    is_error = outcome not in (Outcome.COMPLETED, Outcome.CANCELLED)
    assert said(outcome=outcome, error_type="").get("error.type") == (outcome.value if is_error else None)
    assert said(outcome=outcome, error_type="api_error").get("error.type") == ("api_error" if is_error else None)


def test_counting_tokens_uses_none() -> None:
    counted: dict[str, Any] = {"kind": Kind.COUNT_TOKENS, "path": "/v1/messages/count_tokens"}
    assert name_of(exchange(**counted)) == "count_tokens claude-haiku-4-5"
    found = said(**counted)
    assert found["gen_ai.operation.name"] == "count_tokens"
    assert not [name for name in found if name.startswith("gen_ai.usage.")]


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/messages/batches/msgbatch_01abc/results", "/v1/messages/batches"),
        ("/v1/models/claude-haiku-4-5", "/v1/models"),
        ("/v1/models", "/v1/models"),
        (f"/v1/{CANARY}/messages", "/v1"),
        (f"/{CANARY}", "/"),
        ("", "/"),
    ],
)
def test_a_route_has_no_ids(path: str, route: str) -> None:
    assert route_of(path) == route
    assert name_of(exchange(kind=Kind.OTHER, method="GET", path=path)) == f"GET {route}"


def test_a_method_that_is_none() -> None:
    brewed: dict[str, Any] = {"kind": Kind.OTHER, "method": CANARY[:16], "path": "/v1/models"}
    assert name_of(exchange(**brewed)) == "HTTP /v1/models"
    assert said(**brewed)["http.request.method"] == "_OTHER"


@pytest.mark.parametrize("kind", list(Kind))
def test_nothing_that_was_said_is_in_it(kind: Kind) -> None:
    one = exchange(
        kind=kind,
        path=f"/v1/{CANARY}",
        query=CANARY,
        error_message=CANARY,
        user_agent=CANARY,
        client_address=CANARY,
        usage=CANARY,
        refusals=CANARY,
        agent_id=CANARY,
        parent_agent_id=CANARY,
        correlation_id=CANARY,
        domain_id=uuid4(),
    )
    assert CANARY not in name_of(one) + repr(attributes_of(one, "localhost", "api.anthropic.com"))


def test_a_model_that_looks_like_a_key_is_cut() -> None:
    one = exchange(model=FAKE_KEY, session_id=FAKE_KEY)
    assert "fake-key" not in name_of(one) + repr(attributes_of(one, "localhost", "api.anthropic.com"))
