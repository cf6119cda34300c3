"""`python -m bench.standin`: the stand-in as a process."""

import argparse

from bench import serving
from bench.standin.app import Standin
from bench.standin.fast import fast


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.standin", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--fast", action="store_true", help="the bench's: prebuilt answers, no checks, no record")
    parser.add_argument("--no-record", action="store_true", help="forget each exchange once it is over")
    options = parser.parse_args()
    serving.until_stopped(fast if options.fast else Standin(record=not options.no_record), options.port)


if __name__ == "__main__":
    main()
