"""Sockets: only from our own pages, whatever other sites a browser has open."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from channels.routing import URLRouter
from channels.sessions import CookieMiddleware
from django.conf import settings
from django.http.request import split_domain_port, validate_host
from django.urls import path

from dashboard.consumers import LiveConsumer

Application = Callable[[Any, Any, Any], Awaitable[None]]
_router: Application = CookieMiddleware(URLRouter([path("dashboard/live", LiveConsumer.as_asgi())]))
PATHS = ("/dashboard/live",)


async def sockets(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] in PATHS and _is_ours(dict(scope["headers"])):
        await _router(scope, receive, send)
        return
    await receive()  # its wish to connect
    await send({"type": "websocket.close", "code": 4403})


def _is_ours(headers: dict[bytes, bytes]) -> bool:
    """A browser says from which page it comes, and a page cannot make it say anything else."""
    host = headers.get(b"host", b"").decode("latin-1")
    origin = headers.get(b"origin", b"").decode("latin-1")
    allowed = settings.ALLOWED_HOSTS or (["localhost", "127.0.0.1", "[::1]"] if settings.DEBUG else [])
    if not validate_host(split_domain_port(host)[0], allowed):
        return False
    return urlsplit(origin).netloc == host or origin in settings.CSRF_TRUSTED_ORIGINS
