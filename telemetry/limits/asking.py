"""How full meters are, for pages and commands: asked of Redis with a client that waits."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from redis import Redis
from redis.exceptions import NoScriptError

from telemetry.limits import script
from telemetry.limits.meters import Meter
from telemetry.limits.store import Use

AT_ONCE = 200
REPLY_SECONDS = 2.0


def read_now(meters: Sequence[Meter]) -> list[Use]:
    """Raises what redis-py raises."""
    answers: list[list[int]] = []
    with Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=REPLY_SECONDS, socket_timeout=REPLY_SECONDS, protocol=2
    ) as redis:
        for start in range(0, len(meters), AT_ONCE):
            operations = [script.read(meter) for meter in meters[start : start + AT_ONCE]]
            answers += script.Answers(*_run(redis, script.encode(operations))).each
    return [script.use_of(meter, answer) for meter, answer in zip(meters, answers, strict=True)]


def _run(redis: Redis, packed: bytes) -> list[Any]:
    try:
        found: list[Any] = redis.evalsha(script.SHA, 1, script.PREFIX, packed, "-reader")
    except NoScriptError:
        found = redis.eval(script.SOURCE, 1, script.PREFIX, packed, "-reader")
    return found
