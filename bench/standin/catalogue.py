"""The models that the stand-in lists. It answers for every other `claude-…` just as well."""

from bench.asgi import Json
from bench.standin.errors import ApiError

NAMES = {
    "claude-opus-4-8": "Claude Opus 4.8",
    "claude-sonnet-4-6": "Claude Sonnet 4.6",
    "claude-opus-4-5-20251101": "Claude Opus 4.5",
    "claude-haiku-4-5-20251001": "Claude Haiku 4.5",
    "claude-sonnet-4-5-20250929": "Claude Sonnet 4.5",
    "claude-opus-4-1-20250805": "Claude Opus 4.1",
}


def resolve(model: str) -> str:
    """The dated id that an alias such as claude-haiku-4-5 stands for."""
    return next((name for name in NAMES if name.startswith(f"{model}-2")), model)


def models() -> list[Json]:
    return [_info(name) for name in NAMES]


def check(model: str) -> None:
    """Raises ApiError for what is not a model."""
    if not model.startswith("claude-") or model.startswith("claude-nope"):
        raise ApiError(404, f"model: {model}")


def model(name: str) -> Json:
    check(name)
    return _info(resolve(name))


def _info(name: str) -> Json:
    return {
        "type": "model",
        "id": name,
        "display_name": NAMES.get(name, name),
        "created_at": "2026-02-04T00:00:00Z",
        "lifecycle": "active",
        "line": None,
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
        "capabilities": None,
        "deprecated_at": None,
        "retires_at": None,
    }
