"""`nexus demo`: `nexus serve` in front of the stand-in for the Claude API, with a trickle of traffic."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import django

from bench.standin import serve_in_thread
from bench.traffic import trickle

FAKE_KEY = "sk-ant-api03-fake-key-of-the-demo-0000"
TRAFFIC_KEY_NAME = "demo traffic"
NOT_FOR_A_DEMO = ("DATABASE_URL", "REDIS_URL", "NEXUS_ENCRYPTION_KEYS", "NEXUS_SECRET_KEY", "CLAUDE_API_KEY")


def demo(host: str, port: int, data: str, *, traffic: bool) -> None:
    """Blocks until it is told to stop. Touches no database but its own, in `data`."""
    with serve_in_thread() as standin:
        _configure(standin.url, data)
        from nexus.serve import prepare, run

        made = prepare(host, port, workers=1)
        with _traffic(f"http://127.0.0.1:{port}") if traffic else contextlib.nullcontext():
            run(host, port, workers=1, made=made, upstream="a stand-in inside this process: nothing leaves it")


def _configure(upstream_url: str, data: str) -> None:
    for name in NOT_FOR_A_DEMO:
        os.environ.pop(name, None)
        os.environ.pop(f"{name}_FILE", None)
    os.environ |= {
        "DEBUG": "true",
        "NEXUS_DATA": str(Path(data).resolve()),
        "CLAUDE_API_BASE_URL": upstream_url,
        "CLAUDE_API_KEY": FAKE_KEY,
        "DJANGO_SETTINGS_MODULE": "nexus.settings",
    }
    django.setup()


@contextlib.contextmanager
def _traffic(url: str) -> Iterator[None]:
    """With a key of its own, new at each start: the last one's secret is known to nobody any more."""
    from accounts.models import ClientKey, Domain

    domain = Domain.objects.get(host="localhost")
    for old in ClientKey.objects.filter(name=TRAFFIC_KEY_NAME, revoked_at__isnull=True):
        old.revoke()
    _, secret = ClientKey.issue(domain, TRAFFIC_KEY_NAME)
    with trickle(url, secret):
        yield
