"""What made-up callers send: sessions that run beside one another, busy by day, as facts in the order of time."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from random import Random
from typing import Any
from uuid import UUID

import msgspec

from accounts.ids import first_id_at
from telemetry.fiction.cast import Caller
from telemetry.fiction.talk import Talk, frame
from telemetry.fiction.words import Sentences
from telemetry.money.charges import charges_of
from telemetry.money.pricing import PriceList
from telemetry.record.exchange import Bodies, Exchange, Kind, Outcome

SESSIONS_AT_ONCE = 60
TURNS_OF_A_SESSION = 40
PREVIEW_LENGTH = 200
DAY_SECONDS = 86_400
MODELS = {
    "claude-sonnet-4-5": 450,
    "claude-haiku-4-5": 250,
    "claude-opus-4-5": 200,
    "claude-opus-4-1": 50,
    "claude-sonnet-4-0": 30,
    "claude-3-7-sonnet-latest": 14,
    "claude-3-5-haiku-latest": 5,
    "claude-3-opus-latest": 1,
}
KINDS = {Kind.INFERENCE: 900, Kind.COUNT_TOKENS: 60, Kind.QUERY_EVALUATION: 35, Kind.QUOTA: 4, Kind.OTHER: 1}
COMPLETED_SHARE = 0.97
ENDINGS: tuple[tuple[Outcome, int | None, str], ...] = (
    (Outcome.API_ERROR, 429, "rate_limit_error"),
    (Outcome.API_ERROR, 529, "overloaded_error"),
    (Outcome.API_ERROR, 400, "invalid_request_error"),
    (Outcome.REFUSED, 401, "authentication_error"),
    (Outcome.UPSTREAM_FAILED, 502, "api_error"),
    (Outcome.BROKEN, 200, "api_error"),
    (Outcome.CANCELLED, 200, ""),
    (Outcome.FAILED, 500, "api_error"),
    (Outcome.INTERRUPTED, None, ""),
)
ENDING_WEIGHTS = (40, 25, 15, 8, 5, 3, 30, 1, 1)


@dataclass(frozen=True, slots=True)
class Made:
    exchange: Exchange
    request_preview: str
    response_preview: str
    bodies: Bodies | None


@dataclass(slots=True)
class _Session:
    caller: Caller
    model: str
    id: str
    agent_id: str
    parent_agent_id: str
    turns: int
    talk: Talk | None
    turn: int = 0


class Traffic:
    """The same seed tells the same story."""

    def __init__(
        self, callers: list[Caller], seed: int, bodies_share: float = 0.0, prices: PriceList | None = None
    ) -> None:
        self._prices = prices or PriceList()
        self._random = Random(seed)  # noqa: S311 (a story, not a secret)
        self._callers = callers
        self._caller_weights = list(accumulate(caller.weight for caller in callers))
        self._bodies_share = bodies_share
        self._sentences = Sentences(self._random)
        self._frame = frame(self._sentences)
        self._models, self._kinds = list(MODELS), list(KINDS)
        self._model_weights, self._kind_weights = list(accumulate(MODELS.values())), list(accumulate(KINDS.values()))

    def exchanges(self, count: int, start: datetime, end: datetime) -> Iterator[Made]:
        """In the order of their ids, spread over whole days with more by day than by night."""
        sessions = [self._session() for _ in range(SESSIONS_AT_ONCE)]
        span = (end - start).total_seconds()
        position = 0.0
        for _ in range(count):
            by_day = 1 - 0.8 * math.cos(2 * math.pi * ((start.timestamp() + position) / DAY_SECONDS - 1 / 24))
            gap = span / count / by_day
            moment = start + timedelta(seconds=min(span, position + self._random.random() * gap))
            position += gap
            place = int(self._random.random() * SESSIONS_AT_ONCE)
            session = sessions[place]
            yield self._made(session, moment)
            if session.turn >= session.turns:
                sessions[place] = self._session()

    def _session(self) -> _Session:
        random = self._random
        (caller,) = random.choices(self._callers, cum_weights=self._caller_weights)
        (model,) = random.choices(self._models, cum_weights=self._model_weights)
        has_agent = random.random() < 0.3
        return _Session(
            caller=caller,
            model=model,
            id=str(UUID(int=random.getrandbits(128), version=4)),
            agent_id=f"agent-{random.getrandbits(40):010x}" if has_agent else "",
            parent_agent_id=f"agent-{random.getrandbits(40):010x}" if has_agent and random.random() < 0.5 else "",
            turns=random.randint(1, 2 * TURNS_OF_A_SESSION - 1),
            talk=Talk(random, self._sentences, self._frame, model) if random.random() < self._bodies_share else None,
        )

    def _made(self, session: _Session, moment: datetime) -> Made:
        random = self._random
        session.turn += 1
        (kind,) = random.choices(self._kinds, cum_weights=self._kind_weights)
        bodies = session.talk.turn() if session.talk and kind is Kind.INFERENCE else None
        exchange = self._priced(self._exchange(session, moment, kind, bodies))
        asked = self._sentences.with_ticket()[:PREVIEW_LENGTH]
        answered = self._sentences.one()[:PREVIEW_LENGTH] if exchange.status == 200 else ""
        return Made(exchange, asked, answered, bodies)

    def _exchange(self, session: _Session, moment: datetime, kind: Kind, bodies: Bodies | None) -> Exchange:
        random = self._random
        caller = session.caller
        first_byte_ms = int(random.lognormvariate(6.7, 0.6))
        return Exchange(
            id=UUID(int=first_id_at(moment).int | random.getrandbits(12) << 64 | random.getrandbits(62)),
            started_at=moment,
            duration_ms=first_byte_ms + int(random.expovariate(1 / 8000)),
            first_byte_ms=first_byte_ms,
            overhead_us=300 + int(random.expovariate(1 / 200)),
            domain_id=caller.domain_id,
            client_key_id=caller.client_key_id,
            credential_id=caller.credential_ids[random.random() < 0.02],
            credential_source="domain",
            method="POST",
            path="/v1/messages/count_tokens" if kind is Kind.COUNT_TOKENS else "/v1/messages",
            kind=kind,
            is_stream=kind is Kind.INFERENCE,
            model=session.model,
            answered_model=session.model,
            message_count=2 * session.turn - 1,
            session_id=session.id,
            agent_id=session.agent_id,
            parent_agent_id=session.parent_agent_id,
            user_agent="claude-cli/2.1.0 (external, cli)",
            client_address=caller.address,
            request_bytes=len(bodies.request) if bodies else 60_000 + 4_000 * session.turn,
            attempts=1,
            upstream_request_id=f"req_01{random.getrandbits(88):022x}",
            **self._end(session, bodies),
        )

    def _priced(self, exchange: Exchange) -> Exchange:
        cost = self._prices.cost(charges_of(exchange), exchange.started_at)
        return msgspec.structs.replace(exchange, pricing=cost.pricing, cost=cost.amount, price_ids=cost.ids)

    def _end(self, session: _Session, bodies: Bodies | None) -> dict[str, Any]:
        if self._random.random() < COMPLETED_SHARE:
            return self._completed(session, bodies)
        ((outcome, status, error_type),) = self._random.choices(ENDINGS, ENDING_WEIGHTS)
        return {
            "outcome": outcome,
            "status": status,
            "error_type": error_type,
            "error_message": f"Made up: {self._sentences.one()}" if error_type else "",
            "response_bytes": 180,
        }

    def _completed(self, session: _Session, bodies: Bodies | None) -> dict[str, Any]:
        random = self._random
        tokens = {
            "input_tokens": random.randint(3, 2000),
            "output_tokens": 5 + int(random.expovariate(1 / 400)),
            "cache_read_tokens": 15_000 + 1_200 * (session.turn - 1),
            "cache_write_5m_tokens": 200 + int(random.random() * 2000),
            "cache_write_1h_tokens": int(random.random() * 500) if random.random() < 0.1 else 0,
        }
        return tokens | {
            "outcome": Outcome.COMPLETED,
            "status": 200,
            "message_id": f"msg_01{random.getrandbits(88):022x}",
            "stop_reason": "tool_use" if random.random() < 0.7 else "end_turn",
            "tool_calls": int(random.random() * 3),
            "response_bytes": bodies.response_bytes if bodies else 30 * tokens["output_tokens"],
            "usage_source": "final",
            "usage": _usage(tokens),
        }


def _usage(tokens: dict[str, int]) -> str:
    """As long as the API's own."""
    short, long = tokens["cache_write_5m_tokens"], tokens["cache_write_1h_tokens"]
    return (
        f'{{"input_tokens":{tokens["input_tokens"]},"cache_creation_input_tokens":{short + long},'
        f'"cache_read_input_tokens":{tokens["cache_read_tokens"]},"cache_creation":{{"ephemeral_5m_input_tokens":'
        f'{short},"ephemeral_1h_input_tokens":{long}}},"output_tokens":{tokens["output_tokens"]},'
        '"service_tier":"standard"}'
    )
