"""A served Nexus whose domain has several credentials, and what tests of them ask."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.standin import Standin
from tests import rawhttp
from tests.rawhttp import Answer
from tests.served import Served, eventually, serve

FIRST, SECOND, THIRD = "0001", "0002", "0003"
QUICK = {
    "RETRY_MAX_ATTEMPTS": "3",
    "RETRY_WAIT_MS": "20",
    "CIRCUIT_BREAKER_FAILURE_THRESHOLD": "5",
    "CIRCUIT_BREAKER_VOLUME_THRESHOLD": "10",
    "CIRCUIT_BREAKER_TIMEOUT": "1500",
    "COOLING_MAX_SECONDS": "3600",
    "RATE_LIMIT_MAX_REQUESTS": "0",
    "RATE_LIMIT_MAX_TOKENS": "0",
    "DOMAIN_RATE_LIMIT_MAX_REQUESTS": "0",
    "DOMAIN_RATE_LIMIT_MAX_TOKENS": "0",
}
"""As in production, but for the waits and our own limits."""
REGISTER_SECONDS = 2.2
"""Within two seconds a change reaches every process: which one answers, nobody can choose."""


def secret(end: str) -> str:
    return f"sk-ant-api03-fake-credential-of-a-pool-{end}"


def pool_code(*ends: str, **fields: str) -> str:
    """Python that makes credentials with such ends; *fields* by end, as Python: `_0002="is_standby=True"`."""
    lines = [
        f"Credential.objects.create(domain=Domain.objects.get(host='localhost'), name='c{end}', owner='Grace', "
        f"secret='{secret(end)}', priority=0, {fields.get('_' + end, '')})"
        for end in ends
    ]
    return "\n".join(lines)


@contextlib.contextmanager
def pooled(
    standin: Standin, folder: Path, *ends: str, workers: int = 1, fields: dict[str, str] | None = None, **variables: str
) -> Iterator[Served]:
    """Every process knows the credentials."""
    named = {f"_{end}": text for end, text in (fields or {}).items()}
    settings: Any = {**QUICK, **variables}
    with serve(folder, standin.url, workers=workers, **settings) as served:
        served.run(pool_code(*ends, **named))
        if workers == 1 and "CLAUDE_API_BASE_URL" not in variables:
            eventually(lambda: ask(served).status == 200 and used(standin)[-1] in ends)
        else:
            time.sleep(REGISTER_SECONDS)
        standin.reset()
        yield served


def ask(
    nexus: Served, session: str = "", prompt: str = "Hello", model: str = "claude-haiku-4-5", **fields: Any
) -> Answer:
    body = {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": prompt}], **fields}
    headers = [("x-api-key", nexus.key), ("anthropic-version", "2023-06-01")]
    if session:
        headers.append(("x-claude-code-session-id", session))
    return rawhttp.request(nexus.port, "POST", "/v1/messages", headers, json.dumps(body).encode())


def used(standin: Standin, since: int = 0) -> list[str]:
    """The ends of the credentials with which messages came, in order."""
    exchanges = [each for each in standin.recorder.exchanges if each.number > since and "/messages" in each.target]
    return [dict(each.headers).get("x-api-key", "")[-4:] for each in exchanges]


def error_of(answer: Answer) -> dict[str, str]:
    error: dict[str, str] = json.loads(answer.body)["error"]
    return error
