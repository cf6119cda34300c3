"""`python -m bench`: Nexus against the raw limit of its stack, in one run on one machine.

The load and the stand-in share one core; the servers under test have another, one of them busy at a time.
A whole run also writes bench/latest.json.
"""

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
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
        results = _measure(options.only or list(SERVERS), bounds, server_core)
    except processes.NotReady as problem:
        sys.exit(f"bench: {problem}")
    print(report.table(results, bounds))
    if not options.quick and not options.only:
        report.write(results, bounds)
    if any(figures.errors for figures in results.values()):
        sys.exit("bench: not every request succeeded; the figures above do not count")


def _measure(wanted: list[str], bounds: Bounds, core: int | None) -> dict[str, Figures]:
    with ExitStack() as running:
        upstream = running.enter_context(processes.standin())
        direct = Server("direct", upstream, "sk-ant-api03-fake-bench")
        servers = [direct] if "direct" in wanted else []
        if "raw" in wanted:
            servers.append(running.enter_context(processes.raw(upstream, core)))
        if "nexus" in wanted:
            directory = Path(running.enter_context(tempfile.TemporaryDirectory()))
            servers.append(running.enter_context(processes.nexus(upstream, core, directory)))
        return uvloop.run(Bench(direct, bounds, _say).measure(servers))


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
