"""The files of `deploy/`, the Dockerfile and compose.yaml speak of the Nexus that there is."""

import re
from pathlib import Path

import pytest

from nexus import env
from nexus.cli import main
from nexus.probes import LIVENESS

HOUSE = Path(__file__).parents[1]
COMPOSE = (HOUSE / "compose.yaml").read_text(encoding="utf-8")
DOCKERFILE = (HOUSE / "Dockerfile").read_text(encoding="utf-8")
UNITS = {path.name: path.read_text(encoding="utf-8") for path in (HOUSE / "deploy" / "systemd").glob("*.service")}
NOT_OURS = {"POSTGRES_PASSWORD", "POSTGRES_USER", "POSTGRES_DB", "OTEL_EXPORTER_OTLP_ENDPOINT"}
pytestmark = pytest.mark.once


def test_variables_that_they_set_are_read() -> None:
    example = (HOUSE / "deploy" / "systemd" / "nexus.env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"^    ([A-Z][A-Z0-9_]+):", COMPOSE, re.M)) | set(re.findall(r"\$\{([A-Z0-9_]+)", COMPOSE))
    named |= set(re.findall(r"^([A-Z][A-Z0-9_]+)=", example, re.M))
    assert len(named) > 15
    assert named - NOT_OURS <= env.VARIABLES.keys()


def test_roles_that_they_start_are_commands() -> None:
    started = set(re.findall(r"command: \[(\w+)[,\]]", COMPOSE)) - {"redis"}
    started |= {match[1] for text in UNITS.values() for match in [re.search(r"bin/nexus (\w+)", text)] if match}
    assert started == {"migrate", "web", "worker", "beat"}
    assert started | {"serve"} <= main.commands.keys()


def test_they_wait_longer_than_a_node_drains() -> None:
    (drain,) = map(int, re.findall(r'NEXUS_DRAIN_SECONDS: "(\d+)"', COMPOSE))
    grace = re.search(r"stop_grace_period: (\d+)s # longer", COMPOSE)
    stop = re.search(r"TimeoutStopSec=(\d+)", UNITS["nexus-web.service"])
    assert grace
    assert stop
    assert drain < min(int(grace[1]), int(stop[1]))


def test_the_image_runs_as_nobody_and_is_built_as_the_makefile_does() -> None:
    makefile = (HOUSE / "Makefile").read_text(encoding="utf-8")
    version = re.search(r"UV_VERSION := (\S+)", makefile)
    assert version
    assert f"uv=={version[1]}" in DOCKERFILE
    assert re.search(r"^USER 10001$", DOCKERFILE, re.M)
    assert "--frozen" in DOCKERFILE
    assert any(f"{path}'" in DOCKERFILE for path in LIVENESS)
    ignored = (HOUSE / ".dockerignore").read_text(encoding="utf-8").split()
    packages = {"nexus", "proxy", "dashboard", "accounts", "telemetry", "templates", "static", "bench"}
    assert not packages & set(ignored)
    assert {".git", ".env", "data", ".venv"} <= set(ignored), "no secret and no data in an image"
