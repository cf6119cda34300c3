"""The facts of one exchange while it runs. Filled by the relay, closed once into the frozen `Exchange`."""

import functools
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from accounts.facts import ClientKeyFacts
from accounts.ids import new_id
from accounts.privacy import Storage
from accounts.secret import without_secrets
from proxy.admission import Admission
from proxy.batchmeter import BatchMeter, batch_of_results
from proxy.call import Call
from proxy.estimates import NOTHING, Estimate
from proxy.headers import Headers, first, for_record, text
from proxy.meter import JSONMeter, Meter, Metered, NoMeter, StreamMeter
from proxy.vault import Choice
from proxy.wire import NOTHING_ASKED, Lineage, lineage
from telemetry.limits.meters import as_usd
from telemetry.money.charges import charges_of
from telemetry.money.pricing import PriceList
from telemetry.record.exchange import Bodies, Closed, Exchange, Kind, Outcome
from telemetry.traces.context import Trace

EVENT_STREAM = b"text/event-stream"
JSON = b"application/json"
TEXT_TYPES = (JSON, EVENT_STREAM)
"""Bodies of other kinds, such as files, are passed on and counted, not kept."""
CREATION = ("POST", "/v1/messages/batches")
SECRET_PATHS = ("/v1/oauth", "/v1/vaults")
"""What is sent there and what comes back are secrets: the figures are kept, the bodies are not."""
JOINED_MAX_BYTES = 100_000
"""A short answer is put together here: many small pieces cost more. A long one is left to a thread."""
USAGE_MAX_CHARACTERS = 100_000


class Draft:
    def __init__(self, call: Call) -> None:
        self.call = call
        self.id: UUID = new_id()
        self.ask = NOTHING_ASKED
        self.correlation_id = ""
        """What a peer that we trust calls this request."""
        self.trace: Trace | None = None
        self.lineage = Lineage()
        self.user_id = ""
        self.estimate: Estimate = NOTHING
        self.admission: Admission | None = None
        self.refused_by = ""
        self.waited_seconds = 0.0
        """For room in a limit."""
        self.key: ClientKeyFacts | None = None
        self.choice: Choice | None = None
        self.attempts = 0
        self.tries = ""
        """Of several attempts, what came of each."""
        self.by_previous_secret = False
        self.error_type = ""
        self.error_message = ""
        self.request_body = b""
        self.request_is_whole = False
        self._started_at = datetime.now(UTC)
        self._start = time.perf_counter()
        self._request_read = self._start
        self._overhead_us = 0
        self._first_byte: float | None = None
        self._response_headers: Headers = ()
        self._meter: Meter = NoMeter()
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._received_bytes = 0
        self._keeps = False
        self._opening: Exchange | None = None
        self._request_headers: list[tuple[str, str]] | None = None
        self.keeps_bodies = True
        """Whether this installation keeps bodies at all."""

    # --- What the relay tells, in the order in which it happens ---------------------------------------------

    def begin(self, kind: Kind) -> None:
        """What is known before the key and the body are."""
        self.ask = msgspec.structs.replace(NOTHING_ASKED, kind=kind)
        self.lineage = lineage(self.call.headers, "")

    def request_read(self, body: bytes) -> None:
        self.request_body = body
        self.request_is_whole = True
        self._request_read = time.perf_counter()

    async def tap_upload(self, body: AsyncIterator[bytes], keep_max_bytes: int) -> AsyncIterator[bytes]:
        """Passes an upload on and keeps a copy of a small one that is text."""
        kept: list[bytes] | None = [] if first(self.call.headers, b"content-type").startswith(TEXT_TYPES) else None
        async for chunk in body:
            if kept is not None:
                kept.append(chunk)
                if self.call.intake.received_bytes > keep_max_bytes:
                    kept = None
            yield chunk
        if kept is not None:
            self.request_read(b"".join(kept))

    def calling(self) -> None:
        self.attempts += 1
        if self.attempts > 1:
            return  # the time since was the API's
        took_seconds = time.perf_counter() - self._request_read - self.waited_seconds
        self._overhead_us = max(0, round(took_seconds * 1_000_000))

    def answered(self, status: int, headers: Headers) -> None:
        self._response_headers = headers
        content_type = first(headers, b"content-type")
        self._keeps = content_type.startswith(TEXT_TYPES)
        batch_id = batch_of_results(self.call.method, self.call.path)
        if batch_id and status == 200:
            self._meter = BatchMeter(batch_id)
        elif content_type.startswith(EVENT_STREAM):
            self._meter = StreamMeter()
        elif content_type.startswith(JSON):
            self._meter = JSONMeter()

    def received(self, chunk: bytes, keep_max_bytes: int) -> None:
        """Takes note of a piece of the answer: a pure tap."""
        if self._first_byte is None:
            self._first_byte = time.perf_counter()
        self._received_bytes += len(chunk)
        self._meter.feed(chunk)
        if not self._keeps:
            return
        if self._kept_bytes + len(chunk) > keep_max_bytes:
            self._keeps = False
            return
        self._kept_bytes += len(chunk)
        self._kept.append(chunk)

    @property
    def answer_text(self) -> bytes:
        """As far as it is kept, and has arrived."""
        return b"".join(self._kept)

    @property
    def answer_is_cut(self) -> bool:
        return self._meter.is_cut

    def failed(self, error_type: str, message: str, refused_by: str = "") -> None:
        self.error_type, self.error_message, self.refused_by = error_type, message, refused_by

    # --- For the record -------------------------------------------------------------------------------------

    @property
    def storage(self) -> Storage:
        """How much may be kept; of somebody whom we do not know, nothing that they said."""
        if self.key is None or self.call.path.startswith(SECRET_PATHS):
            return Storage.METADATA
        level = self.key.domain.storage
        return level if self.keeps_bodies or not level.keeps_bodies else Storage.METADATA

    def opened(self) -> tuple[Exchange, Bodies | None]:
        """What is known before the API is called, as an exchange that was interrupted: what it stays if nobody is
        there to say how it ended."""
        self._opening = self._asked()
        return self._opening, self._bodies()

    def close(self, outcome: Outcome, status: int | None, prices: PriceList) -> Closed:
        """`status` is what the client saw; the cost is worked out here, once."""
        metered = self._meter.finish()
        if outcome is Outcome.COMPLETED and (metered.error_type or (status or 0) >= 400):
            outcome = Outcome.API_ERROR
        answered = self._answered(self._opening or self._asked(), outcome, status, metered)
        charges = charges_of(answered)
        cost = prices.cost(charges, answered.started_at)
        assumed = prices.assumed(charges, answered.started_at) if cost.amount is None else self._set_aside(answered)
        priced = msgspec.structs.replace(
            answered, pricing=cost.pricing, cost=cost.amount, price_ids=cost.ids, assumed_cost=assumed
        )
        return Closed(priced, self._bodies())

    def _set_aside(self, answered: Exchange) -> Decimal | None:
        """For a message batch that was created: what it costs, its results tell, up to a month later."""
        is_created = (answered.method, answered.path, answered.status) == (*CREATION, 200)
        return as_usd(self.estimate.cost_units) if is_created and self.estimate.cost_units else None

    def _asked(self) -> Exchange:
        """The half that the client brings."""
        key, choice, call = self.key, self.choice, self.call
        is_personal, keeps_words = self.storage is not Storage.NONE, self.storage.keeps_bodies
        return Exchange(
            id=self.id,
            started_at=self._started_at,
            domain_id=key.domain.id if key else None,
            client_key_id=key.id if key else None,
            credential_id=choice.credential.id if choice and choice.credential else None,
            credential_source=choice.source if choice else "",
            method=clean(call.method, 16),
            path=shown(clean(call.path, 500)),
            query=shown(clean(call.target.partition(b"?")[2].decode("latin-1"), 500)) if keeps_words else "",
            kind=self.ask.kind,
            is_stream=self.ask.is_stream,
            model=clean(self.ask.model, 200),
            message_count=self.ask.message_count,
            session_id=clean(self.lineage.session_id, 100) if is_personal else "",
            agent_id=clean(self.lineage.agent_id, 100) if is_personal else "",
            parent_agent_id=clean(self.lineage.parent_agent_id, 100) if is_personal else "",
            user_id=clean(self.user_id, 200) if is_personal else "",
            user_agent=shown(clean(text(call.headers, b"user-agent"), 300)) if is_personal else "",
            client_address=clean(call.address, 64) if is_personal else "",
            request_bytes=call.intake.received_bytes,
            correlation_id=self.correlation_id,
            trace=self.trace,
        )

    def _answered(self, asked: Exchange, outcome: Outcome, status: int | None, metered: Metered) -> Exchange:
        usage = metered.usage
        says_why = self.key is None or self.storage.keeps_bodies  # what the API says may quote what it was sent
        choice = self.choice  # another one may have taken over
        return msgspec.structs.replace(
            asked,
            credential_id=choice.credential.id if choice and choice.credential else None,
            credential_source=choice.source if choice else "",
            duration_ms=self._milliseconds(time.perf_counter()),
            first_byte_ms=None if self._first_byte is None else self._milliseconds(self._first_byte),
            overhead_us=self._overhead_us,
            answered_model=clean(metered.model, 200),
            request_bytes=self.call.intake.received_bytes,
            status=status,
            outcome=outcome,
            error_type=clean(self.error_type or metered.error_type, 64),
            error_message=shown(clean(self.error_message or (metered.error_message if says_why else ""), 500)),
            refused_by=clean(self.refused_by, 100),
            waited_ms=round(self.waited_seconds * 1000),
            attempts=self.attempts,
            tries=clean(self.tries, 500),
            by_previous_secret=self.by_previous_secret,
            upstream_request_id=clean(text(self._response_headers, b"request-id"), 100),
            message_id=clean(metered.message_id, 100),
            stop_reason=clean(metered.stop_reason, 64),
            tool_calls=metered.tool_calls,
            response_bytes=self._received_bytes,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_5m_tokens=usage.cache_write_5m_tokens,
            cache_write_1h_tokens=usage.cache_write_1h_tokens,
            web_search_requests=usage.web_search_requests,
            web_fetch_requests=usage.web_fetch_requests,
            code_execution_requests=usage.code_execution_requests,
            usage_source=usage.source.value,
            usage=clean(usage.raw.decode("utf-8", "replace"), USAGE_MAX_CHARACTERS),
            is_declined=metered.is_declined,
            refusals=clean(",".join(metered.refusals), 200),
            batch_id=clean(metered.batch_id, 100),
            batch_results=metered.batch_results,
        )

    def _bodies(self) -> Bodies | None:
        if not self.storage.keeps_bodies:
            return None
        if self._request_headers is None:
            self._request_headers = for_record(self.call.headers)
        return Bodies(
            request_headers=self._request_headers,
            response_headers=for_record(self._response_headers),
            request=self.request_body,
            response=self._kept if self._kept_bytes > JOINED_MAX_BYTES else [b"".join(self._kept)],
            request_is_whole=self.request_is_whole,
            response_is_whole=self._kept_bytes == self._received_bytes,
            redact=self.storage is Storage.REDACTED,
        )

    def _milliseconds(self, until: float) -> int:
        return round((until - self._start) * 1000)


def clean(text: str, length: int) -> str:
    """Fits a column; PostgreSQL refuses NUL, and lone surrogates are not text."""
    if text.isascii() and "\0" not in text:
        return text[:length]
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:length]


@functools.lru_cache(maxsize=4096)
def shown(text: str) -> str:
    """Without a key that somebody has put where none belongs. Most texts come again and again."""
    return without_secrets(text)
