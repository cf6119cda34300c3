"""One request and its answer as a fact: frozen, and free of Django. The relay states it once, sinks read it."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec

from telemetry.money.charges import Charge
from telemetry.traces.context import Trace


class Kind(StrEnum):
    """What a request is for: the original's three kinds of messages, and what is not a message."""

    INFERENCE = "inference"
    QUERY_EVALUATION = "query_evaluation"
    QUOTA = "quota"
    COUNT_TOKENS = "count_tokens"
    OTHER = "other"


class Outcome(StrEnum):
    """How an exchange ended."""

    COMPLETED = "completed"
    """The API's whole answer reached the client."""
    API_ERROR = "api_error"
    """The API answered with an error, as its status or in mid-stream; it was passed on."""
    REFUSED = "refused"
    """Nexus said no before anything was sent."""
    UPSTREAM_FAILED = "upstream_failed"
    """No answer: not reachable, or silent for too long before the first byte."""
    BROKEN = "broken"
    """The answer stopped half-way."""
    CANCELLED = "cancelled"
    """The client left."""
    FAILED = "failed"
    """Nexus itself was at fault; its log says more."""
    INTERRUPTED = "interrupted"
    """Nexus was stopped."""


class Pricing(StrEnum):
    """Whether an exchange has a cost."""

    FREE = "free"
    """Nothing that is billed was seen."""
    PRICED = "priced"
    UNPRICED = "unpriced"
    """Something was used for which there is no price: its cost is unknown, which is not 0."""


class BatchResults(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the results of a message batch told while they were read."""

    charges: tuple[Charge, ...] = ()
    """One for each set of terms."""
    succeeded: int = 0
    """Requests, here and below, by their result."""
    errored: int = 0
    canceled: int = 0
    expired: int = 0
    unreadable: int = 0
    """Lines, also such that are too long or of a type that is not known."""

    @property
    def is_whole(self) -> bool:
        """Every line was read, and there were lines: as far as they came."""
        return not self.unreadable and bool(self.succeeded + self.errored + self.canceled + self.expired)


class Exchange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The small facts of one exchange; its fields are the columns of `ExchangeRow`, in name and order, but for
    `batch_results`. What only its end tells has a default. A spool may hold exchanges of an older version: a new field
    needs a default too."""

    id: UUID
    started_at: datetime
    duration_ms: int = 0
    first_byte_ms: int | None = None
    """From our first byte in to the first byte of the body out."""
    overhead_us: int = 0
    """Our own time between the whole request and the call, in microseconds."""

    domain_id: UUID | None
    client_key_id: UUID | None
    credential_id: UUID | None
    credential_source: str
    """`domain`, `caller`, `environment`, or empty when none was chosen."""

    method: str
    path: str
    query: str = ""
    """What follows the path, without the question mark."""
    kind: Kind
    is_stream: bool
    model: str
    """As the client asked for it."""
    answered_model: str = ""
    message_count: int
    session_id: str
    agent_id: str
    parent_agent_id: str
    user_id: str = ""
    """Who asked, as `metadata.user_id` says, without the session that Claude Code puts behind it."""
    user_agent: str
    client_address: str
    request_bytes: int
    correlation_id: str = ""
    """What a peer that we trust, such as a load balancer, calls it."""

    status: int | None = None
    """As the client saw it; None where it saw none."""
    outcome: Outcome = Outcome.INTERRUPTED
    error_type: str = ""
    error_message: str = ""
    refused_by: str = ""
    """The limit, budget or rule of ours that refused it, such as `key requests per minute`."""
    waited_ms: int = 0
    """For room in a limit, before it was sent or refused."""
    attempts: int = 0
    tries: str = ""
    """Of several attempts, each one's credential and result: `main 529, main 529, spare 200`; of one, nothing."""
    by_previous_secret: bool = False
    """The client still uses the secret that its key had before it was rotated."""
    upstream_request_id: str = ""
    message_id: str = ""
    stop_reason: str = ""
    tool_calls: int = 0
    response_bytes: int = 0

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    web_search_requests: int = 0
    web_fetch_requests: int = 0
    code_execution_requests: int = 0
    usage_source: str = ""
    usage: str = ""
    """The usage as the upstream reported it, as JSON; never edited."""
    is_declined: bool = False
    """The API refused before it put anything out: mostly it bills nothing, whatever usage it shows (facts 4.14 e)."""
    refusals: str = ""
    """Categories of refusals, separated by commas: of each model that handed over to a fallback, then of the answer
    itself; `-` where the API names none."""
    batch_id: str = ""
    """Of the message batch that was created or looked at, or whose results were read."""

    pricing: Pricing = Pricing.FREE
    cost: Decimal | None = None
    """In USD, to 10 places; None where it is unpriced."""
    price_ids: str = ""
    """Of the price rows that were used, separated by commas."""
    assumed_cost: Decimal | None = None
    """In USD, in budgets only, and as long as the cost is not known: of what has no price, at the dearest known one of
    its family; of the creation of a message batch, what its requests may cost at most."""

    batch_results: BatchResults | None = None
    """No column: on its way to the rows of the batch (`telemetry.money.batches`)."""
    trace: Trace | None = None
    """No column: for its span, where there are traces."""


NOT_COLUMNS = frozenset({"batch_results", "trace"})
COLUMNS = tuple(name for name in Exchange.__struct_fields__ if name not in NOT_COLUMNS)
columns: Callable[[Exchange], tuple[Any, ...]] = attrgetter(*COLUMNS)
"""The values of an exchange in the order of COLUMNS."""


HEADERS_BYTES = 1500


class Bodies(msgspec.Struct, frozen=True, kw_only=True):
    """The heavy half of an exchange. Headers come without anything that authenticates."""

    request_headers: list[tuple[str, str]]
    response_headers: list[tuple[str, str]]
    request: bytes
    response: list[bytes]
    request_is_whole: bool
    response_is_whole: bool
    redact: bool = False
    """Their domain wants secrets and personal data replaced in the stored copy."""

    @property
    def response_bytes(self) -> int:
        return sum(map(len, self.response))

    @property
    def size_bytes(self) -> int:
        """About: headers are counted as what they usually are."""
        return len(self.request) + self.response_bytes + HEADERS_BYTES


class Closed(msgspec.Struct, frozen=True):
    """An exchange that has ended, with its bodies where they are kept."""

    exchange: Exchange
    bodies: Bodies | None
