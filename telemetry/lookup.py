"""Finds exchanges by what people have in hand: an id of Nexus, or the API's request id."""

from uuid import UUID

from django.db.models import QuerySet

from telemetry.models import ExchangeRow

UPSTREAM_ID_MAX_LENGTH = 100


def exchanges_called(name: str) -> "QuerySet[ExchangeRow]":
    """Newest first: nothing keeps an upstream from giving an id twice."""
    exchange_id = as_uuid(name)
    if exchange_id is not None:
        return ExchangeRow.objects.filter(id=exchange_id)
    if not name or "\0" in name or len(name) > UPSTREAM_ID_MAX_LENGTH:
        return ExchangeRow.objects.none()
    return ExchangeRow.objects.filter(upstream_request_id=name).order_by("-id")


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
