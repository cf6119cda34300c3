"""What of an hour's sums is drawn, for several pages."""

from collections.abc import Callable

from dashboard.sums import Sums

Value = float | int | None
"""A figure; None: nothing was measured."""
Line = tuple[str, str, Callable[[Sums], Value]]
"""A name, a tone, and the figure."""


def prompt_tokens(sums: Sums) -> int:
    """All that was read, from the cache or not."""
    return sums.input_tokens + sums.cache_read_tokens + cache_writes(sums)


def cache_writes(sums: Sums) -> int:
    return sums.cache_write_5m_tokens + sums.cache_write_1h_tokens


def status_lines() -> list[Line]:
    def of(status: str) -> Callable[[Sums], Value]:
        return lambda sums: sums.statuses.get(status, 0)

    tones = {"2xx": "ok", "4xx": "warn", "429": "c4", "5xx": "bad"}
    return [*((name, tone, of(name)) for name, tone in tones.items()), ("none", "c8", of("none"))]


def token_lines() -> list[Line]:
    return [
        ("input", "c1", lambda sums: sums.input_tokens),
        ("output", "c2", lambda sums: sums.output_tokens),
        ("cache read", "c3", lambda sums: sums.cache_read_tokens),
        ("cache write", "c4", cache_writes),
    ]
