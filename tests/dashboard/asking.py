"""Questions to the query API, and what it answers."""

from typing import Any

from django.test import Client
from django.test.utils import CaptureQueriesContext

from telemetry.models import ExchangeRow
from telemetry.money.marks import mark
from telemetry.money.rollups import roll_up
from telemetry.record.exchange import COLUMNS, Exchange, columns
from tests.telemetry.facts import exchange

LIST = "/api/requests"


def get(client: Client, path: str = LIST, **query: Any) -> Any:
    response = client.get(path, query)
    assert response.status_code == 200, response.content
    return response.json()


def figures(client: Client, path: str, **query: Any) -> Any:
    """Of all that is on record by now."""
    roll_up(at_once=True)
    return get(client, path, **query)


def refusal(client: Client, path: str, query: dict[str, str]) -> str:
    response = client.get(path, query)
    assert response.status_code == 422, response.content
    assert response.headers["Cache-Control"] == "no-store"
    (sentence,) = response.json().values()
    assert list(response.json()) == ["error"]
    return str(sentence)


def reads(queries: CaptureQueriesContext) -> int:
    """How many queries read a table; a transaction and its time limit read none."""
    return sum(" FROM " in query["sql"] for query in queries)


def ids(client: Client, **query: Any) -> list[str]:
    answer = get(client, **query)
    assert answer["count"] == len(answer["requests"])
    return [request["id"] for request in answer["requests"]]


def bare_exchange(**facts: Any) -> Exchange:
    """On record without bodies, and without a domain where none is named."""
    one = exchange(**facts)
    ExchangeRow.objects.create(**dict(zip(COLUMNS, columns(one), strict=True)))
    mark([(one.id, one.domain_id)])
    return one


def preview(one: Exchange, request: str, response: str = "") -> None:
    ExchangeRow.objects.filter(id=one.id).update(request_preview=request, response_preview=response)
