"""The clients that npm installs (`make clients`) and the bare environment in which tests run them."""

import os
import shutil
from pathlib import Path

import pytest

from bench.standin import Exchange
from tests.e2e.wiretap import Request

MODULES = Path(__file__).parent / ".clients" / "node_modules"
NODE = shutil.which("node")
CLAUDE = MODULES / ".bin" / "claude"
TIMEOUT_SECONDS = 60

missing = pytest.mark.skipif(
    not (NODE and (MODULES / "@anthropic-ai" / "sdk").exists() and CLAUDE.exists()),
    reason="the TypeScript SDK and Claude Code are not here: install Node.js with npm, then run `make clients`",
)


def environment(home: Path, **variables: str) -> dict[str, str]:
    """Nothing of the developer's own settings, keys or proxies; and Claude Code calls nobody but its base URL."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home),
        "CLAUDE_CONFIG_DIR": str(home / ".claude"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_TELEMETRY": "1",
        **variables,
    }


def assert_it_arrived_as_it_was_sent(sent: Request, received: Exchange, upstream_key: str) -> None:
    """But for what the README documents under "A request's way"."""
    assert (received.method, received.target, received.body) == (sent.method, sent.target, sent.body)
    ours = ("authorization", "x-api-key", "host", "content-length", "accept-encoding", "connection")
    assert _without(ours, received.headers) == _without(ours, sent.headers)
    added = {name: value for name, value in received.headers if name in ours and name != "host"}
    assert added == {"x-api-key": upstream_key, "content-length": str(len(sent.body)), "accept-encoding": "identity"}


def _without(names: tuple[str, ...], headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name not in names]
