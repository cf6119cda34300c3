"""GET /dashboard/start: from nothing to a first request in a few steps. It waits, and goes to the request by itself."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from accounts.access import Viewer
from accounts.models import ClientKey, Credential
from dashboard.pages.door import page, show
from dashboard.queries import newest_request


@dataclass(frozen=True, slots=True)
class Step:
    title: str
    is_done: bool


@page
def view(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """For htmx, which asks while the page waits: the first request, as soon as there is one."""
    newest = newest_request(viewer)
    context: dict[str, Any] = {
        "steps": _steps(viewer),
        "newest": newest,
        "base_url": request.build_absolute_uri("/").rstrip("/"),
        "since": request.GET.get("since", "") or (str(newest) if newest else "none"),
    }
    if getattr(request, "htmx", False) and newest is not None and str(newest) != request.GET.get("since"):
        response = HttpResponse(status=204)
        response["HX-Redirect"] = reverse("dashboard:request", args=[newest])
        return response
    return show(request, viewer, "start", part="_start", **context)


def _steps(viewer: Viewer) -> dict[str, Step]:
    credentials, keys = Credential.objects.filter(is_active=True), ClientKey.objects.filter(revoked_at=None)
    if viewer.domain_ids is not None:
        credentials, keys = (rows.filter(domain_id__in=viewer.domain_ids) for rows in (credentials, keys))
    is_checked = credentials.filter(standing__checked_at__isnull=False).exists()
    return {
        "credential": Step("Add a credential", credentials.exists()),
        "check": Step("Test it", is_checked),
        "key": Step("Create a client key", keys.exists()),
        "request": Step("Send a first request", newest_request(viewer) is not None),
    }
