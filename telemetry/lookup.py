"""Finds exchanges by what people have in hand: an id of Nexus, the API's, or that of a peer that we trust."""

from uuid import UUID

from django.db.models import Q, QuerySet

from telemetry.models import ExchangeRow

UPSTREAM_ID_MAX_LENGTH = 100


def exchanges_called(name: str) -> "QuerySet[ExchangeRow]":
    """Newest first: nothing keeps an upstream from giving an id twice."""
    exchange_id = as_uuid(name)
    if exchange_id is not None:
        # A load balancer may make UUIDs too; ours are shown as they are.
        return ExchangeRow.objects.filter(Q(id=exchange_id) | Q(correlation_id=name)).order_by("-id")
    if not name or "\0" in name or len(name) > UPSTREAM_ID_MAX_LENGTH:
        return ExchangeRow.objects.none()
    return ExchangeRow.objects.filter(Q(upstream_request_id=name) | Q(correlation_id=name)).order_by("-id")


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
