"""Finds exchanges by what people have in hand: an id of Nexus, the API's, or that of a peer that we trust."""

from uuid import UUID

from django.db.models import Q, QuerySet

from telemetry.models import ExchangeRow

UPSTREAM_ID_MAX_LENGTH = 100


def exchanges_called(name: str) -> "QuerySet[ExchangeRow]":
    """Newest first: nothing keeps an upstream or a peer from giving an id twice."""
    exchange_id = as_uuid(name)
    if exchange_id is not None:
        return _any_of(Q(id=exchange_id), _by("correlation_id", name))  # a load balancer may make UUIDs too
    if not name or "\0" in name or len(name) > UPSTREAM_ID_MAX_LENGTH:
        return ExchangeRow.objects.none()
    return _any_of(_by("upstream_request_id", name), _by("correlation_id", name))


def _by(column: str, name: str) -> Q:
    """SQLite takes an index of some rows only where the query says which, in the same words."""
    return ~Q(**{column: ""}) & Q(**{column: name})


def _any_of(one: Q, other: Q) -> "QuerySet[ExchangeRow]":
    """Each way by its own index: SQLite would read the whole table for an OR in the newest first order."""
    ids = ExchangeRow.objects.order_by().values("id")
    return ExchangeRow.objects.filter(id__in=ids.filter(one).union(ids.filter(other))).order_by("-id")


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
