"""The writer of log lines: bounded, never waited for, and whole lines only."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from nexus.logwriter import LogWriter
from tests.served import eventually


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(end)


def fill(descriptor: int) -> int:
    os.set_blocking(descriptor, False)
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(descriptor, b"." * 4096)
    os.set_blocking(descriptor, True)
    return filled


def drain(descriptor: int, until: bytes) -> bytes:
    read = b""
    while until not in read:
        read += os.read(descriptor, 65536)
    return read


def test_in_the_foreground_a_line_is_out_when_write_returns(pipe: tuple[int, int]) -> None:
    LogWriter(pipe[1]).write("one\n")
    assert os.read(pipe[0], 100) == b"one\n"


def test_what_waits_is_out_after_a_flush(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1])
    writer.in_background()
    for number in range(100):
        writer.write(f"{number}\n")
    writer.flush()
    assert os.read(pipe[0], 4096).split() == [str(number).encode() for number in range(100)]


def test_nobody_waits_for_a_reader_and_the_oldest_lines_go(pipe: tuple[int, int]) -> None:
    filled = fill(pipe[1])
    writer = LogWriter(pipe[1], max_characters=1000)
    writer.say_dropped = "({} dropped)\n".format
    writer.in_background()
    writer.write("first\n")
    eventually(lambda: not writer._waiting)  # it is in the thread's hands, which wait for the reader
    began = time.perf_counter()
    for number in range(10_000):
        writer.write(f"{number:08}\n{number:08}\n")
    assert time.perf_counter() - began < 2
    assert writer._waiting_characters <= 1000
    dropped = writer.dropped_lines
    assert dropped == 2 * (10_000 - 1000 // 18)
    read = drain(pipe[0], b"00009999\n00009999\n")[filled:].decode().split("\n")
    assert read[:2] == ["first", f"({dropped} dropped)"]
    assert len(read) == 2 + 20_000 - dropped + 1
    writer.write("told once\n")
    assert drain(pipe[0], b"once\n") == b"told once\n"


def test_a_batch_larger_than_the_bound_is_dropped_and_counted(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1], max_characters=10)
    writer.in_background()
    writer.write("12345\n12345\n")
    writer.write("short\n")
    assert drain(pipe[0], b"short\n") == b"2 log lines were dropped\nshort\n"


def test_a_reader_who_is_gone_ends_nobody(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    LogWriter(pipe[1]).write("to nobody\n")


def test_a_pipe_that_does_not_block_gets_all_of_it(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    writer = LogWriter(pipe[1])
    writer.in_background()
    lines = [f"{number:06}" + "x" * 500 + "\n" for number in range(1000)]
    for line in lines:
        writer.write(line)
    assert drain(pipe[0], lines[-1].encode()) == "".join(lines).encode()


def test_a_fork_writes_for_itself(pipe: tuple[int, int]) -> None:
    """Celery's pool forks; the thread does not come along."""
    code = """
import os
from nexus.logwriter import LogWriter
writer = LogWriter(1)
writer.in_background()
writer.write("parent\\n")
writer.flush()
child = os.fork()
if not child:
    writer.write("child\\n")
    os._exit(0)
os.waitpid(child, 0)
writer.write("parent again\\n")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout.split("\n") == ["parent", "child", "parent again", ""], done.stderr


def test_processes_that_share_a_pipe_do_not_mix_their_lines(pipe: tuple[int, int]) -> None:
    code = """
import json, sys
from nexus.logwriter import LogWriter
batch = "".join(json.dumps({"who": sys.argv[1], "what": "x" * size}) + "\\n" for size in range(0, 3000, 30))
for _ in range(20):
    LogWriter(1).write(batch)
"""
    processes = [subprocess.Popen([sys.executable, "-c", code, str(who)], stdout=pipe[1]) for who in range(3)]
    os.close(pipe[1])
    read = b""
    while more := os.read(pipe[0], 5000):
        read += more
    assert [process.wait() for process in processes] == [0, 0, 0]
    who = [json.loads(line)["who"] for line in read.splitlines()]
    assert len(who) == 3 * 20 * 100
    assert len({*who}) == 3
