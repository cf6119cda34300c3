"""A request to paste into a terminal, without the secret."""

import shlex
from collections.abc import Sequence

BODY_MAX_CHARACTERS = 100_000
KEPT_HEADERS = frozenset({"anthropic-version", "anthropic-beta", "content-type"})
KEY = '"x-api-key: $NEXUS_API_KEY"'


def curl(base_url: str, method: str, path: str, query: str, headers: Sequence[Sequence[str]], body: str | None) -> str:
    """Empty where the body is not kept or too long. The key is read from the environment."""
    if method != "GET" and (body is None or len(body) > BODY_MAX_CHARACTERS):
        return ""
    lines = [f"curl {shlex.quote(base_url + path + (f'?{query}' if query else ''))}", f"-H {KEY}"]
    lines += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers if name.lower() in KEPT_HEADERS]
    if method != "POST":
        lines.insert(1, f"-X {shlex.quote(method)}")
    if body:
        lines.append(f"--data-binary {shlex.quote(body)}")
    return " \\\n  ".join(lines)
