"""What probes ask: they call a node by its address, over plain http, and must not be sent to a host or to https."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from dashboard.health import health, live, ready

PROBES: dict[str, Callable[[HttpRequest], HttpResponse]] = {
    "/health": health,
    "/health/live": live,
    "/health/ready": ready,
    "/livez": live,
    "/readyz": ready,
}
ALIVE = b'{"status":"alive"}'
LIVENESS = frozenset({"/livez", "/health/live"})


def middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Before all that looks at hosts, schemes and sessions."""

    def answer(request: HttpRequest) -> HttpResponse:
        probe = PROBES.get(request.path) if settings.ENABLE_HEALTH_CHECKS else None
        return probe(request) if probe else get_response(request)

    return answer


async def say_alive(send: Any) -> None:
    """Without Django, a thread or any look at anything: the event loop runs, and that is all that it says."""
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    headers.append((b"content-length", str(len(ALIVE)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ALIVE})
