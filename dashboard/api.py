"""The query API: what the record holds, for scripts and for the console. Its documentation is at /api/docs."""

import functools
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from ninja import NinjaAPI, Query
from ninja.errors import HttpError, ValidationError
from ninja.renderers import BaseRenderer
from ninja.security import APIKeyHeader

from accounts.access import KEY_HEADER, AccessRefused, TooManyTries, Viewer, viewer_of
from dashboard import credentials, detail, figures, limits, queries, system
from dashboard.export import export
from dashboard.filters import (
    Breakdown,
    Export,
    Figures,
    Filters,
    NotAsked,
    OfCredential,
    OfDomain,
    OfWhom,
    Page,
    Refusals,
    Series,
    Span,
)
from dashboard.ledger import proof
from dashboard.sums import in_usd
from telemetry.timelimit import TookTooLong, time_limited

NO_TEXT_SEARCH = "Searching by text shows what was said: that takes the permission to view bodies."
NO_DOMAIN = "(none)"
"""The key of requests that belong to no domain, such as those with a wrong key."""


class JSON(BaseRenderer):
    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return msgspec.json.encode(data)


class PrivateAPI(NinjaAPI):
    """Nothing on the way keeps a copy of an answer."""

    def create_response(self, request: HttpRequest, data: Any, **options: Any) -> HttpResponse:
        response = super().create_response(request, data, **options)
        response["Cache-Control"] = "no-store"
        return response


class Door(APIKeyHeader):
    """To the OpenAPI document it is the key alone; a session opens it too."""

    param_name = KEY_HEADER

    def authenticate(self, request: HttpRequest, key: str | None) -> Viewer:
        return viewer_of(request)


def _guarded(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    @functools.wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            viewer_of(request)
        except AccessRefused as refused:
            return _refuse(request, refused)
        return view(request, *args, **kwargs)

    return guarded


api = PrivateAPI(
    title="Nexus query API",
    version=version("nexus-gateway"),
    description=f"Reads the record. Send the dashboard's key as {KEY_HEADER}, or use the session of the console: "
    "then you see the domains that you are a member of.",
    urls_namespace="reading",
    docs_url="/api/docs",
    openapi_url="/api/openapi.json",
    docs_decorator=_guarded,
    auth=Door(),
    renderer=JSON(),
)


@api.get("/api/requests", tags=["requests"], summary="Requests, newest first")
def list_requests(request: HttpRequest, asked: Query[Page]) -> Any:
    with time_limited():
        found, before = queries.page(_matching(request, asked), _viewer(request), asked.limit, asked.position)
    return {"status": "ok", "requests": found, "count": len(found), "next_cursor": before and str(before)}


@api.get("/api/requests/export", tags=["requests"], summary="The same as a file, all of them")
def export_requests(request: HttpRequest, asked: Query[Export]) -> HttpResponseBase:
    response = export(_matching(request, asked), _viewer(request), asked.format)
    response["Cache-Control"] = "no-store"
    return response


@api.get("/api/requests/{name}", tags=["requests"], summary="One request, by its id or the API's request id")
def show_request(request: HttpRequest, name: str) -> Any:
    row = queries.request_for_view(viewer := _viewer(request), name)
    if row is None:
        raise HttpError(404, "Request not found")
    return {"status": "ok", "request": detail.whole(row, viewer)}


@api.get("/api/storage-stats", tags=["figures"], summary="What is on record, by domain and kind")
def storage_stats(request: HttpRequest, asked: Query[Span]) -> Any:
    asked.refuse_others(request)
    viewer = _viewer(request)
    with time_limited():
        stats, stored = figures.storage_stats(viewer, asked), queries.bytes_stored(viewer, asked)
    return {"status": "ok", "since": figures.counted_since(asked.since), "stats": stats, "storage": stored}


@api.get("/token-stats", tags=["figures"], summary="Tokens and requests by domain")
def token_stats(request: HttpRequest, asked: Query[Span]) -> Any:
    asked.refuse_others(request)
    with time_limited():
        rows = figures.token_stats(_viewer(request), asked)
    return {
        row["domain"] or NO_DOMAIN: {
            "inputTokens": row["input"],
            "outputTokens": row["output"],
            "cacheReadTokens": row["cache_read"],
            "cacheWriteTokens": row["cache_write"],
            "requestCount": row["count"],
            "queryEvaluationCount": row["query_evaluations"],
            "inferenceCount": row["inferences"],
            "toolCallCount": row["tools"],
            "cost": in_usd(row["cost"]),
            "unpricedCount": row["without_price"],
            "lastUpdated": int(row["last"].timestamp() * 1000),
        }
        for row in rows
    }


@api.get("/api/stats", tags=["figures"], summary="What some hours come to, and as many hours before them")
def stats(request: HttpRequest, asked: Query[Figures]) -> Any:
    viewer, hours = _viewer(request), _hours(request, asked)
    with time_limited():
        totals, before = (figures.totals(viewer, asked, each) for each in (hours, hours.before))
    past = {"since": hours.before.since, "until": hours.before.until, "totals": before}
    return _of(hours) | {"totals": totals, "before": past}


@api.get("/api/stats/series", tags=["figures"], summary="The same by hour or by day")
def stats_series(request: HttpRequest, asked: Query[Series]) -> Any:
    viewer, hours = _viewer(request), _hours(request, asked)
    with time_limited():
        width, points = figures.series(viewer, asked, hours, asked.step)
    return _of(hours) | {"hours_per_point": width, "points": points}


@api.get("/api/stats/breakdown", tags=["figures"], summary="The same by model, client key, domain, credential or kind")
def stats_breakdown(request: HttpRequest, asked: Query[Breakdown]) -> Any:
    viewer, hours = _viewer(request), _hours(request, asked)
    with time_limited():
        parts, others = figures.breakdown(viewer, asked, hours, asked.by, asked.limit)
    return _of(hours) | {"by": asked.by, "parts": parts, "others": others}


@api.get("/api/stats/choices", tags=["figures"], summary="The models, keys, domains and credentials of some hours")
def stats_choices(request: HttpRequest, asked: Query[Figures]) -> Any:
    viewer, hours = _viewer(request), _hours(request, asked)
    with time_limited():
        found = figures.choices(viewer, asked, hours)
    return _of(hours) | found


@api.get("/api/limits", tags=["limits"], summary="Rate limits, where each is set, and how full it is now")
def show_limits(request: HttpRequest, asked: Query[OfWhom]) -> Any:
    asked.refuse_others(request)
    with time_limited():
        return {"status": "ok", **limits.limits(_viewer(request), asked)}


@api.get("/api/budgets", tags=["limits"], summary="What is spent of each budget in its period, and when it will end")
def show_budgets(request: HttpRequest, asked: Query[OfDomain]) -> Any:
    asked.refuse_others(request)
    with time_limited():
        return {"status": "ok", **limits.budgets(_viewer(request), asked)}


@api.get(
    "/api/limits/refusals", tags=["limits"], summary="What limits, budgets and rules refused, in all and over time"
)
def show_refusals(request: HttpRequest, asked: Query[Refusals]) -> Any:
    asked.refuse_others(request)
    with time_limited():
        return {"status": "ok", **limits.refusals(_viewer(request), asked)}


@api.get("/api/credentials", tags=["credentials"], summary="How credentials stand, and who uses them")
def show_credentials(request: HttpRequest, asked: Query[OfCredential]) -> Any:
    asked.refuse_others(request)
    with time_limited():
        return {"status": "ok", **credentials.credentials(_viewer(request), asked)}


@api.get("/api/ledger", tags=["figures"], summary="The proof that nothing is lost")
def ledger(request: HttpRequest) -> Any:
    if _viewer(request).domain_ids is not None:
        raise HttpError(403, "The ledger counts the requests of all domains: you see some.")
    return {"status": "ok", **proof()}


@api.get("/api/system", tags=["figures"], summary="Processes, the queue, and how each task last ran")
def show_system(request: HttpRequest) -> Any:
    if _viewer(request).domain_ids is not None:
        raise HttpError(403, "The system carries the requests of all domains: you see some.")
    return {"status": "ok", **system.state()}


def _viewer(request: HttpRequest) -> Viewer:
    viewer: Viewer = request.auth  # type: ignore[attr-defined] # ninja puts there what Door returned
    return viewer


def _hours(request: HttpRequest, asked: Figures) -> figures.Hours:
    """Raises NotAsked."""
    asked.refuse_others(request)
    return figures.hours_of(asked)


def _of(hours: figures.Hours) -> dict[str, Any]:
    return {"status": "ok", "since": hours.since, "until": hours.until}


def _matching(request: HttpRequest, asked: Filters) -> Any:
    asked.refuse_others(request)
    viewer = _viewer(request)
    if asked.text is not None and not viewer.may_see_bodies:
        raise HttpError(403, NO_TEXT_SEARCH)
    return queries.requests_for_list(viewer, asked)


# --- What goes wrong, in one shape: {"error": "a sentence"} ---------------------------------------------------


def _error(request: HttpRequest, status: int, sentence: str) -> HttpResponse:
    return api.create_response(request, {"error": sentence}, status=status)


@api.exception_handler(AccessRefused)
def _refuse(request: HttpRequest, refused: AccessRefused) -> HttpResponse:
    response = _error(request, refused.status, str(refused))
    if isinstance(refused, TooManyTries):
        response["Retry-After"] = "60"
    return response


@api.exception_handler(HttpError)
def _tell(request: HttpRequest, error: HttpError) -> HttpResponse:
    return _error(request, error.status_code, str(error))


@api.exception_handler(TookTooLong)
def _tell_to_ask_for_less(request: HttpRequest, error: TookTooLong) -> HttpResponse:
    return _error(request, 503, str(error))


@api.exception_handler(NotAsked)
def _tell_the_parameters(request: HttpRequest, error: NotAsked) -> HttpResponse:
    return _error(request, 422, str(error))


@api.exception_handler(ValidationError)
def _tell_what_is_wrong(request: HttpRequest, error: ValidationError) -> HttpResponse:
    sentences = (f"{fault['loc'][-1]}: {fault['msg'].removeprefix('Value error, ')}" for fault in error.errors)
    return _error(request, 422, " ".join(sentence.rstrip(".") + "." for sentence in sentences))
