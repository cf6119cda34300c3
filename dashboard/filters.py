"""What may be asked of the record: query parameters, checked, with a sentence for each that is wrong."""

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Schema
from pydantic import AfterValidator, BeforeValidator, StringConstraints, ValidationInfo, field_validator

from telemetry.lookup import as_uuid
from telemetry.models import HourKind
from telemetry.record.exchange import Kind, Outcome

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100
TEXT_MAX_LENGTH = 300
DEFAULT_SPAN = timedelta(hours=24)
DEFAULT_PARTS = 100
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATUS = re.compile(r"[1-5](?:[0-9]{2}|xx)")
_ZONE_WITHOUT_PLUS = re.compile(r" (?=\d\d:?\d\d$)")


class Step(StrEnum):
    """Of a series."""

    HOUR = "hour"
    DAY = "day"


class By(StrEnum):
    """What a breakdown goes by."""

    MODEL = "model"
    KEY = "key"
    DOMAIN = "domain"
    CREDENTIAL = "credential"
    KIND = "kind"


class ExportFormat(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("text holds no NUL characters.")
    return text


def _moment(value: object) -> object:
    """A `+` that nobody escaped arrives as a space."""
    if not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(_ZONE_WITHOUT_PLUS.sub("+", value.strip()))
    except ValueError:
        raise ValueError("write a time as ISO 8601 with a zone, such as 2026-11-23T08:00:00Z.") from None
    if moment.tzinfo is None:
        raise ValueError("this time has no zone: write 2026-11-23T08:00:00Z or …+01:00.")
    return max(moment, EPOCH)


def _status(value: str) -> str:
    if not _STATUS.fullmatch(value):
        raise ValueError("a status is a number such as 429, or 2xx, 3xx, 4xx, 5xx.")
    return value


def _cursor(value: str) -> str:
    if as_uuid(value) is None:
        raise ValueError("this is not the next_cursor of an earlier answer.")
    return value


Text = Annotated[str, StringConstraints(max_length=TEXT_MAX_LENGTH), AfterValidator(_without_nul)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
Status = Annotated[str, AfterValidator(_status)]
Cursor = Annotated[str, StringConstraints(max_length=64), AfterValidator(_cursor)]


class NotAsked(ValueError):
    """A parameter that this endpoint does not have: to pass over it would answer another question."""


class Asked(Schema):
    """`name=` with nothing behind it is the same as no `name`."""

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: Any, info: ValidationInfo) -> Any:
        return cls.model_fields[str(info.field_name)].default if value == "" else value

    def refuse_others(self, request: HttpRequest) -> None:
        """Raises NotAsked."""
        known = type(self).model_fields
        if others := sorted(request.GET.keys() - known.keys()):
            raise NotAsked(f"There is no parameter {others[0][:50]!r} here. There are: {', '.join(known)}.")


class Span(Asked):
    """What the figures are asked for."""

    domain: Text | None = Field(None, description="A host name.")
    since: Moment | None = Field(None, description="From this moment on; ISO 8601 with a zone. Default: 24 hours ago.")


class OfDomain(Asked):
    """Whose limits."""

    domain: Text | None = Field(None, description="A host name.")


class OfWhom(OfDomain):
    key: Text | None = Field(None, description="A client key's id, or its exact name.")
    credential: Text | None = Field(None, description="A credential's id, or its exact name.")


class OfCredential(Asked):
    """Which credentials."""

    domain: Text | None = Field(None, description="A host name: those that this domain uses.")
    credential: Text | None = Field(None, description="A credential's id, or its exact name.")


class Refusals(Span):
    until: Moment | None = Field(None, description="Before this moment; ISO 8601 with a zone. Default: now.")
    key: Text | None = Field(None, description="A client key's id, or its exact name.")
    step: Step = Field(Step.HOUR, description="Of the points over time.")


class Figures(Span):
    """Which sums, of which hours. All that are given have to hold."""

    until: Moment | None = Field(None, description="Before this moment; ISO 8601 with a zone. Default: now.")
    key: Text | None = Field(None, description="A client key's id, or its exact name.")
    credential: Text | None = Field(None, description="A credential's id, or its exact name.")
    model: Text | None = Field(None, description="That answered, else that was asked for; exactly.")
    kind: HourKind | None = None


class Series(Figures):
    step: Step | None = Field(None, description="Default: hours, days where that would be more than 300 points.")


class Breakdown(Figures):
    by: By = By.MODEL
    limit: int = Field(DEFAULT_PARTS, ge=1, le=MAX_LIMIT, description="All others are summed up.")


class Filters(Asked):
    """Which requests. All that are given have to hold."""

    domain: Text | None = Field(None, description="A host name.")
    key: Text | None = Field(None, description="A client key's id, or its exact name.")
    credential: Text | None = Field(None, description="A credential's id, or its exact name.")
    model: Text | None = Field(None, description="As it was asked for; a dated name finds also those without the date.")
    status: Status | None = Field(None, description="A status such as 429, or a class such as 5xx.")
    outcome: Outcome | None = None
    kind: Kind | None = None
    session: Text | None = Field(None, description="The whole session id.")
    since: Moment | None = Field(None, description="From this moment on; ISO 8601 with a zone.")
    until: Moment | None = Field(None, description="Before this moment; ISO 8601 with a zone.")
    text: Text | None = Field(None, description="Words in the previews of request and answer.")


class Page(Filters):
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
    cursor: Cursor | None = Field(None, description="The next_cursor of the page before.")

    @property
    def position(self) -> UUID | None:
        return as_uuid(self.cursor) if self.cursor else None


class Export(Filters):
    format: ExportFormat = ExportFormat.CSV
