"""The bench's results as a markdown table, and as a file to compare with."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from bench.measures import Bounds, Figures

LATEST = Path(__file__).parent / "latest.json"


def table(results: dict[str, Figures], bounds: Bounds) -> str:
    """A column for each server, and how the last one compares with the one before."""
    names = list(results)
    compared = names[-2:] if len(names) > 1 and names[-2] != "direct" else []
    head = ["", *names, *([" / ".join(reversed(compared))] if compared else [])]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for key, label in _labels(bounds).items():
        values = [results[name].values.get(key) for name in names]
        rows.append([label, *map(_number, values), *([_ratio(values[-1], values[-2])] if compared else [])])
    for label, counts in (
        ("answers", [figures.answers for figures in results.values()]),
        ("errors", [figures.errors for figures in results.values()]),
    ):
        rows.append([label, *(f"{count:,}" for count in counts), *([""] if compared else [])])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def write(results: dict[str, Figures], bounds: Bounds) -> None:
    measured = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "open_streams": bounds.open_streams,
        "cancelled_streams": bounds.cancelled_streams,
        "servers": {
            name: {
                "values": {key: round(value, 3) for key, value in figures.values.items()},
                "answers": figures.answers,
                "errors": figures.errors,
            }
            for name, figures in results.items()
        },
    }
    LATEST.write_text(json.dumps(measured, indent=2) + "\n")


def _labels(bounds: Bounds) -> dict[str, str]:
    return {
        "json_rate": "JSON req/s, c32",
        "json_p50_ms": "JSON p50 ms, c1",
        "json_p99_ms": "JSON p99 ms, c1",
        "stream_rate": "streams/s, c32",
        "first_byte_added_p50_ms": "first byte added at half load, p50 ms",
        "first_byte_added_p99_ms": "first byte added at half load, p99 ms",
        "rate_100kb": "100 KB prompts req/s, c32",
        "rate_2mb": "2 MB prompts req/s, c8",
        "open_streams_rss_mb": f"RSS MB with {bounds.open_streams:,} open streams",
        "before_cancelled_rss_mb": f"RSS MB before {bounds.cancelled_streams:,} cancelled streams",
        "after_cancelled_rss_mb": "RSS MB after them",
    }


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _ratio(value: float | None, limit: float | None) -> str:
    return f"{value / limit:.2f}" if value is not None and limit else "-"
