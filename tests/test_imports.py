"""Imports run one way (design.md 4): nexus, then proxy and dashboard, then telemetry, then accounts."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "accounts": set(),
    "telemetry": {"accounts"},
    "proxy": {"accounts", "telemetry"},
    "dashboard": {"accounts", "telemetry"},
    "nexus": {"accounts", "telemetry", "proxy", "dashboard"},
    "bench": set(),
}
EXCEPTIONS = {("nexus/demo.py", "bench")}
WITHOUT_DJANGO = [
    *(f"telemetry.record.{name}" for name in ("exchange", "sse", "message", "usage")),
    *(f"telemetry.money.{name}" for name in ("charges", "pricing")),
    *(f"proxy.{name}" for name in ("meter", "headers", "wire")),
]


def ours(path: Path) -> Iterator[str]:
    """The packages of ours that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            names = [node.module or ""]
        else:
            continue
        yield from {name.partition(".")[0] for name in names} & {*MAY_IMPORT, "tests"}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_downwards_only(package: str) -> None:
    allowed = {package, *MAY_IMPORT[package]}
    modules = sorted((ROOT / package).rglob("*.py"))
    assert modules
    arrows = {(str(path.relative_to(ROOT)), name) for path in modules for name in ours(path) if name not in allowed}
    assert arrows <= EXCEPTIONS


@pytest.mark.parametrize("module", WITHOUT_DJANGO)
def test_it_works_without_django(module: str) -> None:
    code = f"import sys, {module}; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
