"""GET /dashboard/requests: the record, newest first."""

from django.http import HttpRequest, HttpResponse
from pydantic import ValidationError

from accounts.access import Viewer
from dashboard import queries
from dashboard.filters import Page
from dashboard.pages.door import page, show
from dashboard.pages.lens import WrongAddress, sentence_of

ROWS = 50


@page
def view(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    try:
        asked = Page(**(request.GET.dict() | {"limit": ROWS}))  # type: ignore[arg-type]
    except ValidationError as error:
        raise WrongAddress(sentence_of(error)) from None
    found, before = queries.page(queries.requests_for_list(viewer, asked), viewer, asked.limit, asked.position)
    return show(request, viewer, "requests", rows=found, before=before)
