import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from nexus import keyfile

ROOT = Path(__file__).parent.parent.parent


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from nexus import keyfile; print(keyfile.ensure(Path({str(tmp_path)!r})))"
    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    said = {process.communicate(timeout=60)[0] for process in started}
    assert [process.returncode for process in started] == [0] * 4
    assert len(said) == 1


def test_what_a_killed_process_left_behind_does_not_stop_the_next(tmp_path: Path) -> None:
    """In a container every process has the number of the one before."""
    (tmp_path / f".keys.json.{os.getpid()}").write_text("")
    assert keyfile.ensure(tmp_path) == keyfile.ensure(tmp_path)


@pytest.mark.parametrize("content", ['"text"', "null", '{"secret_key":null,"encryption_keys":5}', b"\xff"])
def test_a_file_of_another_kind_is_told_and_not_repeated(tmp_path: Path, content: str | bytes) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ImproperlyConfigured, match=r"keys\.json"):
        keyfile.ensure(tmp_path)
