"""The door of every page: who looks, what the frame around a page shows, and what a wrong address is told."""

import contextlib
import functools
import hashlib
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlencode

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe
from redis import RedisError

from accounts.access import AccessRefused, TooManyTries, Viewer, viewer_of
from accounts.models import Domain
from dashboard.filters import NotAsked
from dashboard.pages.lens import RANGES, Lens, WrongAddress
from telemetry.timelimit import TookTooLong, time_limited

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, Viewer, P], HttpResponseBase]
PART_SECONDS = 10
DOMAINS_MAX = 500
"""In the choice of one."""
PAGES = (
    ("overview", "Overview"),
    ("requests", "Requests"),
    ("usage", "Usage and cost"),
    ("latency", "Latency and errors"),
    ("credentials", "Credentials"),
    ("keys", "Keys and limits"),
    ("system", "System"),
)


def page(view: View[P]) -> Callable[..., HttpResponseBase]:
    """*view* gets the viewer. Who may not look is sent to sign in; the answer is kept by nobody on the way."""
    return _guarded(view, shares_parts=False)


def shared_page(view: View[P]) -> Callable[..., HttpResponseBase]:
    """The same; its part, which open windows ask for again and again, is made once in PART_SECONDS for all who see the
    same domains. The sums that it shows are no newer than that."""
    return _guarded(view, shares_parts=True)


def _guarded(view: View[P], *, shares_parts: bool) -> Callable[..., HttpResponseBase]:
    @require_safe
    @functools.wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        try:
            viewer = viewer_of(request)
        except TooManyTries as refused:
            return _told(request, 429, str(refused))
        except AccessRefused:
            return _to_sign_in(request)
        try:
            with time_limited():
                if shares_parts and _is_for_a_part(request):
                    response = _shared(request, viewer, lambda: view(request, viewer, *args, **kwargs))
                else:
                    response = view(request, viewer, *args, **kwargs)
        except (WrongAddress, NotAsked) as error:
            response = _told(request, 400, str(error))
        except TookTooLong as error:
            response = _told(request, 503, str(error))
        response["Cache-Control"] = "no-store"
        return response

    return guarded


def _is_for_a_part(request: HttpRequest) -> bool:
    return bool(getattr(request, "htmx", False)) and not request.headers.get("HX-Boosted")


def _shared(request: HttpRequest, viewer: Viewer, make: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    seen = "all" if viewer.domain_ids is None else ",".join(sorted(map(str, viewer.domain_ids)))
    asked = (seen, str(viewer.may_see_bodies), request.get_full_path())
    key = f"dashboard-part:{hashlib.sha256(chr(0).join(asked).encode()).hexdigest()}"
    try:
        kept = cache.get(key)
    except (RedisError, OSError):
        return make()
    if kept is not None:
        return HttpResponse(kept)
    response = make()
    if isinstance(response, HttpResponse) and response.status_code == 200:
        with contextlib.suppress(RedisError, OSError):
            cache.set(key, response.content, PART_SECONDS)
    return response


def show(
    request: HttpRequest,
    viewer: Viewer,
    name: str,
    lens: Lens | None = None,
    *,
    template: str = "",
    part: str = "",
    **context: Any,
) -> HttpResponse:
    """The page of that name, by the template of that name if not by another one; for htmx only *part*, a template of
    its own, if the page has one."""
    context |= {"viewer": viewer, "lens": lens, "now": timezone.now()}
    if part and _is_for_a_part(request):
        return render(request, f"dashboard/{part}.html", context)
    return render(request, f"dashboard/{template or name}.html", context | _frame(request, viewer, name))


def _frame(request: HttpRequest, viewer: Viewer, name: str) -> dict[str, Any]:
    return {
        "page": name,
        "pages": [(each, title, reverse(f"dashboard:{each}")) for each, title in PAGES if _is_for(viewer, each)],
        "hosts": hosts_of(viewer),
        "ranges": RANGES,
        "version": version("nexus-gateway"),
    }


def hosts_of(viewer: Viewer) -> list[str]:
    rows = Domain.objects.all() if viewer.domain_ids is None else Domain.objects.filter(id__in=viewer.domain_ids)
    return list(rows.order_by("host").values_list("host", flat=True)[:DOMAINS_MAX])


def _is_for(viewer: Viewer, name: str) -> bool:
    return name != "system" or viewer.domain_ids is None


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    where = f"{reverse('dashboard:login')}?{urlencode({'next': request.get_full_path()})}"
    if not getattr(request, "htmx", False):
        return redirect(where)
    response = HttpResponse(status=401)  # htmx follows a redirect by itself, and would put the form into the page
    response["HX-Redirect"] = reverse("dashboard:login")
    return response


def _told(request: HttpRequest, status: int, sentence: str) -> HttpResponse:
    return render(request, "dashboard/told.html", {"sentence": sentence, "status": status}, status=status)


def not_found(request: HttpRequest, sentence: str) -> HttpResponse:
    """What is somebody else's is told in the same words as what is not there."""
    return _told(request, 404, sentence)


def forbidden(request: HttpRequest, sentence: str) -> HttpResponse:
    return _told(request, 403, sentence)
