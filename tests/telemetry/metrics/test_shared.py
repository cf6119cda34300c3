"""Processes that share what they count, killed for real."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from telemetry.metrics import shared

COUNTING = """
import sys
import time
from prometheus_client import Counter, Gauge, Histogram
from telemetry.metrics.shared import REGISTRY, Membership, registry_of_node
member = Membership()
counter = Counter("things", "Things", ("kind",), registry=REGISTRY)
gauge = Gauge("depth", "Depth", registry=REGISTRY, multiprocess_mode="livesum")
histogram = Histogram("wait_seconds", "Wait", buckets=(1, 2), registry=REGISTRY)
for line in sys.stdin:
    counter.labels("a").inc(int(line))
    gauge.set(int(line))
    histogram.observe(1.5)
    of = registry_of_node().get_sample_value
    values = of("things_total", {"kind": "a"}), of("depth"), of("wait_seconds_bucket", {"le": "2.0"})
    print(*map(int, values), flush=True)
"""
ROOT = Path(__file__).parent.parent.parent.parent


class Worker:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", COUNTING], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def count(self, number: int) -> tuple[int, ...]:
        """The counter, the gauge and the bucket of the node, once it has counted so many more."""
        assert self.process.stdin
        assert self.process.stdout
        print(number, file=self.process.stdin, flush=True)
        return tuple(map(int, self.process.stdout.readline().split()))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


@contextlib.contextmanager
def workers(number: int) -> Iterator[list[Worker]]:
    started = [Worker() for _ in range(number)]
    try:
        yield started
    finally:
        for each in started:
            each.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with shared.shared_by_workers(tmp_path):
        yield Path(os.environ[shared.VARIABLE])


def test_any_worker_answers_for_all(folder: Path) -> None:
    with workers(2) as (one, other):
        assert one.count(3) == (3, 3, 1)
        assert other.count(4) == (7, 7, 2)
        assert one.count(1) == (8, 5, 3)


def test_what_a_killed_worker_counted_stays_and_what_it_measured_goes(folder: Path) -> None:
    with workers(2) as (one, other):
        one.count(10)
        other.count(5)
        one.kill()
        assert other.count(1) == (16, 1, 3)


def test_those_who_die_again_and_again_leave_one_file_of_each_kind(folder: Path) -> None:
    with workers(1) as (witness,):
        witness.count(1)
        for number in range(5):
            with workers(1) as (short,):
                assert short.count(10)[0] == 1 + 10 * (number + 1)
        with workers(1) as (last,):
            assert last.count(0)[0] == 51
            assert witness.count(0) == (51, 0, 8)
        names = sorted(path.name for path in folder.glob("*.db"))
        assert [name for name in names if shared.ENDED in name] == ["counter_ended.db", "histogram_ended.db"]
        assert len(list(folder.glob("counter_*.db"))) == 3, "the dead, the witness and the last one"


def test_a_worker_that_has_the_number_of_a_dead_one_goes_on_counting(folder: Path) -> None:
    """Numbers come round. Here the dead one had ours."""
    code = f"import os; os.getpid = lambda: {os.getpid()}\n{COUNTING}"
    for expected in (10, 20):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, input="10\n", capture_output=True, text=True)
        assert done.stdout.split()[:2] == [str(expected), "10"], done.stderr


def test_a_file_that_is_just_being_made_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is empty for a moment."""
    (folder / "counter_1.db").touch()
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        (folder / "counter_1.db").unlink(missing_ok=True)

    monkeypatch.setattr(time, "sleep", pause)
    assert list(shared.registry_of_node().collect()) == []
    assert len(pauses) == 1


def test_folders_of_those_who_are_gone_are_removed(tmp_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from telemetry.metrics.shared import shared_by_workers
with shared_by_workers(Path({str(tmp_path)!r})):
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 9
    (left,) = tmp_path.iterdir()
    with shared.shared_by_workers(tmp_path), shared.shared_by_workers(tmp_path):
        assert not left.exists()
        assert len(list(tmp_path.iterdir())) == 2, "one that lives keeps its own"
    assert list(tmp_path.iterdir()) == []


def test_a_process_alone_keeps_it_to_itself() -> None:
    assert shared.VARIABLE not in os.environ
    assert shared.registry_of_node() is shared.REGISTRY
    assert isinstance(shared.REGISTRY, CollectorRegistry)
