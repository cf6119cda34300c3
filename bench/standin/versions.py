"""API versions, and what the newer one no longer takes (platform.claude.com/docs/en/api/versioning)."""

from bench.asgi import Json
from bench.standin.errors import ApiError

NEW = "2026-10-21"
KNOWN = ("2023-01-01", "2023-06-01", NEW)
REMOVED = ("temperature", "top_p", "top_k")


def check(version: str | None) -> None:
    """Raises ApiError."""
    if version is None:
        raise ApiError(400, "anthropic-version: header is required")
    if version not in KNOWN:
        raise ApiError(400, f'anthropic-version: "{version}" is not a valid version')


def check_body(version: str, body: Json) -> None:
    """Raises ApiError."""
    for name in REMOVED:
        if version == NEW and name in body:
            raise ApiError(400, f"{name}: Extra inputs are not permitted")
