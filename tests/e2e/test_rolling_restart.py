"""Two nodes behind nginx are restarted one after the other under load: no request fails, and none is lost."""

import os
import signal
from pathlib import Path
from uuid import UUID

import pytest

from bench.standin import Standin
from tests.cluster.cluster import cluster
from tests.cluster.nginx import PROGRAM
from tests.load import Load
from tests.served import eventually
from tests.services import MISSING

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not os.environ.get("DATABASE_URL"), reason="several nodes need PostgreSQL and Redis"),
    pytest.mark.skipif(not PROGRAM, reason=f"nginx: its programs {MISSING}"),
]


def test_a_rolling_restart_fails_nothing_and_loses_nothing(standin: Standin, tmp_path: Path) -> None:
    with cluster(tmp_path, standin.url, workers=2, background=False) as made:
        with Load(made.nginx.url, made.key).running() as heard:
            eventually(lambda: heard.whole > 50)
            for node in made.nodes:
                made.restart(node)
        assert heard.failures == []
        for node in made.nodes:
            assert node.stop(signal.SIGTERM) == 0
        stored = [UUID(str(row["id"])) for row in made.asked.rows("telemetry_exchange")]
        assert sorted(stored) == sorted(heard.heads)
        assert len(stored) == heard.whole
        for node in made.nodes:
            assert "Traceback" not in node.role.log.read_text()
