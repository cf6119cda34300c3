"""What must not go into production: each is told at the start, by the name of its variable, with what to do."""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network

SECRET_MIN_CHARACTERS = 32
KEY_MIN_CHARACTERS = 16
DISTINCT_MIN = 8
"""A secret of few different characters was typed, not made."""


def unsafe(
    *,
    secret_key: str,
    encryption_keys: str,
    dashboard_key: str,
    metrics_token: str,
    allowed_hosts: Sequence[str],
    trusted_origins: Sequence[str],
    trusted_proxies: Sequence[IPv4Network | IPv6Network],
) -> Iterator[str]:
    """Sentences, none of which repeats a value that is secret."""
    if _is_weak(secret_key, SECRET_MIN_CHARACTERS):
        yield (
            f"NEXUS_SECRET_KEY is too short or too simple: it signs the console's sessions. Make one of "
            f"{SECRET_MIN_CHARACTERS} characters or more with `nexus generate-secret NEXUS_SECRET_KEY`."
        )
    if secret_key in encryption_keys.split(","):
        yield (
            "NEXUS_SECRET_KEY and NEXUS_ENCRYPTION_KEYS are the same: whoever learns one has both. Make another with "
            "`nexus generate-secret NEXUS_SECRET_KEY`."
        )
    for name, value in (("DASHBOARD_API_KEY", dashboard_key), ("METRICS_TOKEN", metrics_token)):
        if value and _is_weak(value, KEY_MIN_CHARACTERS):
            yield (
                f"{name} is too short or too simple: use {KEY_MIN_CHARACTERS} characters or more, as "
                "`openssl rand -hex 32` makes."
            )
    if "*" in allowed_hosts:
        yield "ALLOWED_HOSTS=*: any name would do for links and cookies. Name the host names of the console."
    for origin in trusted_origins:
        if origin.startswith("http://") and not _is_local(origin):
            yield f"CSRF_TRUSTED_ORIGINS holds {origin}: passwords would cross the network in plain. Use https://."
    if any(network.prefixlen == 0 for network in trusted_proxies):
        yield "TRUSTED_PROXIES holds a network of all addresses: anybody could say who they are. Name your proxies."


def _is_weak(value: str, min_characters: int) -> bool:
    return len(value) < min_characters or len(set(value)) < DISTINCT_MIN


def _is_local(origin: str) -> bool:
    host = origin.removeprefix("http://").partition("/")[0].rpartition(":")[0] or origin.removeprefix("http://")
    return host in ("localhost", "127.0.0.1", "[::1]")
