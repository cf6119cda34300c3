"""GET /metrics in Prometheus's text format: what the web processes of this node count, and what the database and Redis
know of all. Any process of a node answers for that node; scrape each node."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from accounts.access import AccessRefused, may_scrape, viewer_of
from dashboard.collectors import COLLECTORS
from dashboard.collectors.asked import Together
from telemetry.metrics.shared import registry_of_node


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """For those who may see all domains: METRICS_TOKEN, the dashboard's key, or a superuser's session."""
    if not settings.ENABLE_METRICS:
        raise Http404
    if not may_scrape(request):
        try:
            viewer = viewer_of(request)
        except AccessRefused as refused:
            return HttpResponse(str(refused), status=refused.status, content_type="text/plain")
        if viewer.domain_ids is not None:
            return HttpResponse("Metrics are of all domains: you see some.", status=403, content_type="text/plain")
    response = HttpResponse(text(), content_type=CONTENT_TYPE_LATEST)
    response["Cache-Control"] = "no-store"
    return response


def text() -> bytes:
    asked = CollectorRegistry()
    asked.register(Together(COLLECTORS))
    return generate_latest(registry_of_node()) + generate_latest(asked)
