"""Metrics as Prometheus meets them: scraped from a served Nexus with traffic, and read by the rules and the dashboard
that come with it."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.standin import Standin
from tests.served import Served, eventually, running, serve

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parent.parent.parent
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
BOARD = ROOT / "deploy" / "grafana" / "nexus.json"
FAKE_TOKEN = "fake-metrics-token-0001"
NAME = re.compile(r"\bnexus_[a-z0-9_]+\b")
NO_METRICS = {
    *("nexus_record_", "nexus_celery_", "nexus_task_", "nexus_rollup_", "nexus_deliver", "nexus_budget_"),
    "nexus_credential_",
}
"""How comments call several at once."""
Samples = dict[str, list[tuple[dict[str, str], float]]]


@pytest.fixture(scope="module")
def busy(standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With traffic of several kinds, and background work that has begun."""
    folder = tmp_path_factory.mktemp("busy")
    with (
        serve(folder, standin.url, METRICS_TOKEN=FAKE_TOKEN, WORKER_LATE_SECONDS="2") as served,
        background(served),
    ):
        served.run("Budget.objects.create(name='Team', domain=Domain.objects.get(), amount_usd='10')")
        ask(served)
        ask(served, stream=True)
        ask(served, key="nxs_live_of-nobody", expected=401)
        yield served


@contextlib.contextmanager
def background(served: Served) -> Iterator[None]:
    """Celery's two processes, where it is not within the one."""
    if not os.environ.get("REDIS_URL"):
        yield
        return
    with running(served, "worker"), running(served, "beat"):
        yield


def ask(served: Served, *, stream: bool = False, key: str = "", expected: int = 200) -> None:
    body = {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"x-api-key": key or served.key, "anthropic-version": "2023-06-01"}
    # A connection of its own each time: whichever worker is free takes it.
    answer = httpx.post(f"{served.url}/v1/messages", json=body | {"stream": stream}, headers=headers, trust_env=False)
    assert answer.status_code == expected


def scrape(served: Served) -> str:
    headers = {"Authorization": f"Bearer {FAKE_TOKEN}"}
    answer = httpx.get(f"{served.url}/metrics", headers=headers, trust_env=False, timeout=20)
    assert answer.status_code == 200
    return answer.text


def samples(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def total(served: Served, name: str, **labels: str) -> float:
    rows = samples(scrape(served)).get(name, [])
    return sum(value for found, value in rows if labels.items() <= found.items())


def names(text: str) -> set[str]:
    """Of all metrics and series that a scrape holds, also such as have no series at the moment."""
    declared = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    return declared | set(samples(text))


def everything(served: Served) -> str:
    """A scrape in which also what takes a moment has come."""

    def look() -> str:
        text = scrape(served)
        found = samples(text)
        complete = found.get("nexus_build_info") and found.get("nexus_celery_pulse_age_seconds")
        return text if complete and len(found.get("nexus_requests_total", [])) >= 2 else ""

    return eventually(look, seconds=20)


def test_it_tells_of_the_traffic(busy: Served) -> None:
    found = samples(everything(busy))
    requests = {
        (labels["domain"], labels["outcome"], labels["status_class"]) for labels, _ in found["nexus_requests_total"]
    }
    assert ("localhost", "completed", "2xx") in requests
    assert ("none", "refused", "4xx") in requests
    assert sum(value for _, value in found["nexus_tokens_total"]) > 0
    assert sum(value for _, value in found["nexus_cost_usd_total"]) > 0
    assert found["nexus_web_processes"] == [({}, 1.0)]
    assert found["nexus_celery_pulse_age_seconds"][0][1] < 60
    assert all(value == 1 for _, value in found["nexus_collector_up"])


def test_nothing_secret_is_in_it(busy: Served) -> None:
    text = everything(busy)
    for secret in (busy.key, busy.key[-8:], FAKE_TOKEN, "sk-ant-", busy.database_url or "sqlite:///"):
        assert secret not in text


@pytest.mark.parametrize("path", [RULES, BOARD], ids=["rules", "dashboard"])
def test_what_is_shown_and_watched_exists(busy: Served, path: Path) -> None:
    asked = set(NAME.findall(path.read_text())) - NO_METRICS
    assert len(asked) > 10
    assert asked - names(everything(busy)) == set()


def test_labels_that_are_asked_for_exist(busy: Served) -> None:
    """In the dashboard's and the rules' own words: `name{label=…}`, `by (label)` and `{{label}}`."""
    text = RULES.read_text() + " ".join(expressions())
    known = {label for rows in samples(everything(busy)).values() for labels, _ in rows for label in labels}
    known |= {"instance", "job", "le", "tool", "state"}  # the last two of what this traffic and SQLite do not have
    asked = set(re.findall(r"[{,]([a-z_]+)(?:=|!=|=~|!~)\"", text))
    asked |= {label.strip() for group in re.findall(r"by \(([^)]+)\)", text) for label in group.split(",")}
    assert asked - known == set()


def test_the_dashboard_is_well_formed() -> None:
    board = json.loads(BOARD.read_text())
    panels = board["panels"]
    assert board["uid"] == "nexus"
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["type"] == "row" or panel["targets"]


def expressions() -> list[str]:
    panels: list[dict[str, Any]] = json.loads(BOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def test_each_rule_says_what_to_do() -> None:
    text = RULES.read_text()
    rules = text.split("- alert: ")[1:]
    assert len(rules) >= 10
    for rule in rules:
        assert all(f"{part}:" in rule for part in ("expr", "severity", "summary", "description")), rule


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is of Prometheus")
def test_prometheus_agrees(busy: Served) -> None:
    for command, given in (
        (["check", "rules", str(RULES)], None),
        (["check", "config", "--syntax-only", str(RULES.with_name("prometheus.yml"))], None),
        (["check", "metrics"], everything(busy)),
    ):
        done = subprocess.run(["promtool", *command], input=given, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="several workers need PostgreSQL and Redis")
def test_any_worker_answers_for_its_node_also_for_one_that_was_killed(standin: Standin, tmp_path: Path) -> None:
    with serve(tmp_path, standin.url, workers=3, METRICS_TOKEN=FAKE_TOKEN, DASHBOARD_API_KEY=FAKE_TOKEN) as served:
        eventually(lambda: total(served, "nexus_web_processes") == 3, seconds=30)
        for _ in range(30):
            ask(served)
        for _ in range(10):
            eventually(lambda: total(served, "nexus_requests_total", status_class="2xx") == 30)
        killed = min(processes(served))
        os.kill(killed, signal.SIGKILL)
        # Its successor is there, and the dead one is no fourth.
        eventually(lambda: killed not in processes(served) and len(processes(served)) == 3, seconds=30)
        eventually(lambda: total(served, "nexus_web_processes") == 3, seconds=30)
        ask(served)
        for _ in range(10):
            eventually(lambda: total(served, "nexus_requests_total", status_class="2xx") == 31)
        assert total(served, "nexus_exchanges_in_flight") == 0
        assert served.stop() == 0
    assert list((tmp_path / "metrics").iterdir()) == [], "the files go with the processes"


def processes(served: Served) -> set[int]:
    """The process ids of those that told how they are within the last seconds."""
    headers = {"X-Dashboard-Key": FAKE_TOKEN}
    answer = httpx.get(f"{served.url}/api/system", headers=headers, trust_env=False).json()
    found = {row["vitals"]["pid"] for row in answer["processes"] if row["vitals"]}
    return {number for number in found if _lives(number)}


def _lives(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True
