"""What people and probes find at the door."""

from importlib.metadata import version

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe


@require_safe
def root(request: HttpRequest) -> HttpResponse:
    """The original's status answer. Claude Code warms its connection with HEAD / or HEAD /api/hello."""
    return JsonResponse(
        {
            "service": "nexus",
            "version": version("nexus-gateway"),
            "status": "operational",
            "endpoints": {
                "api": "/v1/messages",
                "admin": "/admin/",
                "dashboard": "/dashboard/",
                "requests": "/api/requests",
                "stats": "/token-stats",
                "storage": "/api/storage-stats",
                "docs": "/api/docs",
                "health": "/health",
                "metrics": "/metrics",
            },
        }
    )


@require_safe
def hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=200, content_type="text/plain")
