"""`python -m bench`: Nexus against the raw limit of its stack, in one run on one machine.

The load and the stand-in share one core; the server under test has another to itself.
"""

import argparse
import os
import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

import uvloop

from bench import processes, report
from bench.measures import Bench, Bounds, Figures
from bench.processes import Server

SERVERS = ("direct", "raw", "nexus")


def main() -> None:
    options = _options()
    bounds = Bounds(
        seconds=options.seconds,
        requests=options.requests,
        open_streams=100 if options.quick else 1_000,
        cancelled_streams=500 if options.quick else 10_000,
    )
    if not options.services:
        for name in ("DATABASE_URL", "REDIS_URL"):
            os.environ.pop(name, None)
    load_core, server_core = processes.cores()
    processes.pin(load_core)
    processes.allow_many_connections()
    try:
        results = _measure(options.only or SERVERS, bounds, server_core)
    except processes.NotReady as problem:
        sys.exit(f"bench: {problem}")
    print(report.table(results, bounds))
    report.write(results, bounds)
    if any(figures.errors for figures in results.values()):
        sys.exit("bench: not every request succeeded; the figures above do not count")


def _measure(wanted: tuple[str, ...], bounds: Bounds, core: int | None) -> dict[str, Figures]:
    results: dict[str, Figures] = {}
    with processes.standin() as upstream, tempfile.TemporaryDirectory() as directory:
        direct = Server("direct", upstream, "sk-ant-api03-fake-bench")
        bench = Bench(direct, bounds, _say)
        if "direct" in wanted:
            results[direct.name] = uvloop.run(bench.measure(direct))
        starts: dict[str, AbstractContextManager[Server]] = {
            "raw": processes.raw(upstream, core),
            "nexus": processes.nexus(upstream, core, Path(directory)),
        }
        for name, start in starts.items():
            if name in wanted:
                with start as server:
                    results[server.name] = uvloop.run(bench.measure(server))
    return results


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a glance: a second each, a tenth of the streams")
    parser.add_argument("--only", action="append", choices=SERVERS, help="this server; may be repeated")
    parser.add_argument("--seconds", type=float, help="at most so long for each measurement (8, quick 1)")
    parser.add_argument("--requests", type=int, help="at most so many requests for each measurement")
    parser.add_argument(
        "--services", action="store_true", help="run Nexus on DATABASE_URL and REDIS_URL: it writes there"
    )
    options = parser.parse_args()
    if options.seconds is None:
        options.seconds = 1 if options.quick else 8
    return options


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
