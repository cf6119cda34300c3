"""A served Nexus whose domain has several credentials, and what tests of them ask."""

import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
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


def team(served: Served, standin: Standin, *ends: str, fields: dict[str, str] | None = None) -> Served:
    """A domain of its own with such credentials and a key: many tests share one Nexus. *fields* by end, as Python; the
    credentials that are there already are `c0001` and so on. What the stand-in knew is forgotten."""
    host = f"team-{uuid.uuid4().hex[:12]}.example.com"
    lines = [
        "Domain.objects.filter(host='localhost').update(host='first.example.com')",  # or its name binds our calls to it
        f"domain = Domain.objects.create(host='{host}')",
    ]
    for end in ends:
        lines.append(
            f"c{end} = Credential.objects.create(domain=domain, name='c{end}', owner='Grace', "
            f"secret='{secret(end)}', {(fields or {}).get(end, '')})"
        )
    lines.append("print(ClientKey.issue(domain, 'team')[1])")
    key = served.run("\n".join(lines)).split()[-1]
    found = replace(served, key=key)
    if served.workers == 1:
        eventually(lambda: ask(found).status not in (401, 403))
    else:
        time.sleep(REGISTER_SECONDS)
    standin.reset()
    return found


def credentials(served: Served) -> dict[str, str]:
    """Names by id, of the domain that was made last."""
    rows = served.rows("accounts_credential")
    newest = max(rows, key=lambda row: str(row["created_at"]))["domain_id"]
    return {str(row["id"]).replace("-", ""): row["name"] for row in rows if row["domain_id"] == newest}


def standings(served: Served) -> dict[str, dict[str, Any]]:
    """What was found out, by name, of the domain that was made last."""
    names = credentials(served)
    rows = served.rows("accounts_credentialstanding")
    ids = ((str(row["credential_id"]).replace("-", ""), row) for row in rows)
    return {names[row_id]: row for row_id, row in ids if row_id in names}


@contextlib.contextmanager
def pooled(
    standin: Standin, folder: Path, *ends: str, workers: int = 1, fields: dict[str, str] | None = None, **variables: str
) -> Iterator[Served]:
    """A Nexus of its own, for a test that needs other settings."""
    settings: Any = {**QUICK, **variables}
    with serve(folder, standin.url, workers=workers, **settings) as served:
        yield team(served, standin, *ends, fields=fields)


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
