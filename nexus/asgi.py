"""The ASGI application: `/v1/*` to the lean handler, other http to Django, and the server's lifespan."""

import asyncio
import contextlib
import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nexus.settings")
django_application = get_asgi_application()

from channels.routing import ProtocolTypeRouter  # noqa: E402 (Django has to be set up first)
from django.conf import settings  # noqa: E402

from dashboard import routing  # noqa: E402
from nexus import probes, protocol, stopping, uploads  # noqa: E402
from nexus.wiring import Node  # noqa: E402

node = Node()
protocol.on_shutdown.append(node.limiter.stop_waiting)
protocol.socket_paths.update(path.encode() for path in routing.PATHS)


async def http(scope: Any, receive: Any, send: Any) -> None:
    path = scope["path"]
    if path.startswith("/v1/") or path == "/v1":
        if not node.is_running:
            await node.ensure_started()
        await node.handler(scope, receive, send)
    elif path in probes.LIVENESS and settings.ENABLE_HEALTH_CHECKS:
        await probes.say_alive(send)
    else:
        await uploads.bounded(django_application, scope, receive, send, settings.INTAKE.body_idle_seconds)


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    try:
        await node.ensure_started()
    except Exception as error:
        await send({"type": "lifespan.startup.failed", "message": f"Nexus cannot start: {error}"})
        return
    stopping.listen_for_signals(settings.NEXUS_DRAIN_NOTICE_SECONDS)
    await send({"type": "lifespan.startup.complete"})
    # A second signal ends the server without its word of farewell: then this task is cancelled instead.
    with contextlib.suppress(asyncio.CancelledError):
        await receive()
    await node.stop()
    await send({"type": "lifespan.shutdown.complete"})


application = ProtocolTypeRouter({"http": http, "lifespan": lifespan, "websocket": routing.sockets})
