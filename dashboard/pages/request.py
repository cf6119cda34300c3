"""GET /dashboard/requests/NAME: one request, by its id or the API's request id."""

from django.http import HttpRequest, HttpResponse

from accounts.access import Viewer
from dashboard import detail, queries
from dashboard.pages.door import not_found, page, show


@page
def view(request: HttpRequest, viewer: Viewer, name: str) -> HttpResponse:
    row = queries.request_for_view(viewer, name)
    if row is None:
        return not_found(request, "There is no such request, or it is not yours to see.")
    return show(request, viewer, "request", row=detail.whole(row, viewer))
