"""`nexus serve`: everything in one process, or several web workers on PostgreSQL and Redis."""

import contextlib
import ipaddress
import logging
import math
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

import uvicorn
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from uvicorn.config import STARTUP_FAILURE

from accounts import register, rotation
from nexus import database, firstrun, tracing
from nexus.embedded import celery_threads
from nexus.protocol import GuardedProtocol
from nexus.stopping import Workers
from telemetry.credentials import originals
from telemetry.metrics.shared import shared_by_workers

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 seconds that load balancers in front of us keep a connection."""
WORKER_SILENT_SECONDS = 60
SOCKET_MAX_BYTES = 4096
"""What a live page may say at once: it has nothing to say."""
"""A worker that says nothing for so long is started anew. uvicorn's own 5 are less than a start takes on a busy
machine, and none ever came up."""


def serve(host: str, port: int, workers: int) -> None:
    """Blocks until the process is told to stop. Raises ImproperlyConfigured for a set-up that cannot work."""
    run(host, port, workers, prepare(host, port, workers))


def prepare(host: str, port: int, workers: int) -> firstrun.Made:
    """Brings the database up to date and makes what a first user needs. Raises ImproperlyConfigured."""
    if workers > 1 and not (settings.REDIS_URL and settings.DATABASE_URL):
        raise ImproperlyConfigured(
            f"{workers} workers need REDIS_URL and DATABASE_URL: without them each would count limits for itself. "
            "Set both, or serve with one worker."
        )
    _check(host, port)
    database.migrate(verbosity=0)
    _check_secrets()
    made = firstrun.ensure()
    if settings.CREDENTIALS_DIR:
        _import_credentials(settings.CREDENTIALS_DIR)
    connections.close_all()
    return made


def serve_web(host: str, port: int, workers: int, wait_seconds: float) -> None:
    """Serves, and does nothing else: it prepares nothing, and runs no background work. Blocks until the process is told
    to stop. Raises ImproperlyConfigured for a set-up that cannot work."""
    if not (settings.REDIS_URL and settings.DATABASE_URL):
        raise ImproperlyConfigured(
            "`nexus web` is one process of several: it needs REDIS_URL and DATABASE_URL. On one machine without them, "
            "`nexus serve` is everything."
        )
    _check(host, port)
    database.wait_until_migrated(wait_seconds)
    _check_secrets()
    connections.close_all()
    print(f"Nexus serves {url_of(host, port)}", flush=True)  # noqa: T201 (this is for the person at the terminal)
    _run(host, port, workers)


def _check(host: str, port: int) -> None:
    if settings.DEBUG and not _is_loopback(host):
        raise ImproperlyConfigured(
            f"DEBUG=true shows settings to whoever meets an error: not on {host}. Listen on 127.0.0.1, or set "
            "DEBUG=false, NEXUS_SECRET_KEY and NEXUS_ENCRYPTION_KEYS."
        )
    tracing.check(settings.TRACES.endpoint)
    _refuse_taken_port(host, port)


def _check_secrets() -> None:
    register.load()  # a wrong encryption key is told here, in a sentence
    if not settings.ALLOW_UNREADABLE_SECRETS:
        rotation.check_readable()


def _import_credentials(source: str) -> None:
    """Whatever is wrong with them is no reason not to start."""
    try:
        for report in originals.import_all(originals.folder(source), owner="imported"):
            logger.log(logging.ERROR if report.problem else logging.INFO, "CREDENTIALS_DIR: %s", report)
    except OSError as error:
        logger.error("CREDENTIALS_DIR: %s cannot be read: %s", source, error.strerror)


def run(host: str, port: int, workers: int, made: firstrun.Made, upstream: str = "") -> None:
    """`upstream` is what the welcome says of the Claude API, where that is not what the settings say."""
    print(welcome(host, port, made, upstream), flush=True)  # noqa: T201 (this is for the person at the terminal)
    _run(host, port, workers)


def _run(host: str, port: int, workers: int) -> None:
    with _stopping_cleanly(), _celery(), _metrics(workers):
        _serve(uvicorn.Config("nexus.asgi:application", **server_options(host, port, workers)))


def _serve(config: uvicorn.Config) -> None:
    if config.workers > 1:
        Workers(config, sockets=[config.bind_socket()]).run()
        return
    server = uvicorn.Server(config)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def server_options(host: str, port: int, workers: int) -> dict[str, Any]:
    return {
        "host": host,
        "port": port,
        "workers": workers if workers > 1 else None,
        "loop": "uvloop",
        "http": GuardedProtocol,
        "ws": "websockets-sansio",
        "ws_max_size": SOCKET_MAX_BYTES,
        # What is pushed is small, and to compress it for each of two hundred windows would cost more than it saves.
        "ws_per_message_deflate": False,
        "lifespan": "on",
        "access_log": False,
        "log_config": None,  # ours stands
        "log_level": "warning",
        # The API's own `server` and `date` go through; two of each would not be what it sent.
        "server_header": False,
        "date_header": False,
        # Whoever is in front of us is told by the operator, not by a header that any client can set.
        "proxy_headers": bool(settings.TRUSTED_PROXIES),
        "forwarded_allow_ips": [str(network) for network in settings.TRUSTED_PROXIES],
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_worker_healthcheck": WORKER_SILENT_SECONDS,
        "timeout_graceful_shutdown": math.ceil(settings.NEXUS_DRAIN_SECONDS),
    }


def url_of(host: str, port: int) -> str:
    """What a client on this machine calls."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else shown}:{port}"  # noqa: S104 (compared, not bound)


def welcome(host: str, port: int, made: firstrun.Made, upstream: str) -> str:
    url = url_of(host, port)
    key = made.client_key or "<your client key>"
    login = f"{firstrun.ADMIN_NAME} / {made.admin_password} (shown once)" if made.admin_password else "your account"
    body = '{"model":"claude-haiku-4-5","max_tokens":100,"messages":[{"role":"user","content":"Hello"}]}'
    if made.client_key:
        key_line = f"{made.client_key} (domain localhost, shown once)"
    else:
        key_line = f"issued before; a new one: {url}/admin/accounts/clientkey/add/"
    return "\n".join(
        (
            f"Nexus serves {url}   stop it with Ctrl-C",
            f"  Admin       {url}/admin/   {login}",
            f"  Client key  {key_line}",
            f"  Claude API  {upstream or _upstream_line(url)}",
            f"  Data        {settings.NEXUS_DATA}",
            "Paste one of these:",
            f"  curl {url}/v1/messages -H 'x-api-key: {key}' -H 'anthropic-version: 2023-06-01' "
            f"-H 'content-type: application/json' -d '{body}'",
            f'  ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY={key} python -c "import anthropic; '
            "print(anthropic.Anthropic().messages.create(model='claude-haiku-4-5', max_tokens=100, "
            "messages=[{'role': 'user', 'content': 'Hello'}]).content[0].text)\"",
            f"  ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN={key} claude -p Hello",
        )
    )


def _upstream_line(url: str) -> str:
    if settings.UPSTREAM.default_api_key:
        return f"{settings.UPSTREAM.base_url} with CLAUDE_API_KEY, where a domain has no credential of its own"
    return f"no CLAUDE_API_KEY: add a credential at {url}/admin/accounts/credential/add/"


def _metrics(workers: int) -> contextlib.AbstractContextManager[None]:
    return shared_by_workers(settings.NEXUS_DATA / "metrics") if workers > 1 else contextlib.nullcontext()


@contextlib.contextmanager
def _celery() -> Iterator[None]:
    if settings.REDIS_URL:
        yield  # `nexus worker` and `nexus beat` run as processes of their own
        return
    with celery_threads():
        yield


@contextlib.contextmanager
def _stopping_cleanly() -> Iterator[None]:
    """uvicorn raises the signal again when it has drained: then the rest of us still has to stop in order. A second
    signal ends the drain at once."""
    before = {number: signal.signal(number, _already_stopping) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _already_stopping(number: int, frame: Any) -> None:
    pass


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refuse_taken_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ImproperlyConfigured(
                f"Cannot listen on {host}:{port}: {error.strerror}. Choose another --port."
            ) from None
