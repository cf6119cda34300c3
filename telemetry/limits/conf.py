"""The limits that count where the admin does not say otherwise, as the environment sets them."""

from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured

MAX_WINDOW_MS = 31 * 24 * 3_600_000
MIN_WINDOW_MS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultLimit:
    """Of each client key, or of each domain, that has no limit of its own for all models. 0: not limited."""

    window_ms: int = 3_600_000
    max_requests: int = 0
    max_tokens: int = 0
    """Input and output together."""

    def __post_init__(self) -> None:
        if not MIN_WINDOW_MS <= self.window_ms <= MAX_WINDOW_MS:
            raise ImproperlyConfigured(
                f"RATE_LIMIT_WINDOW_MS and DOMAIN_RATE_LIMIT_WINDOW_MS: from {MIN_WINDOW_MS} (a second) to "
                f"{MAX_WINDOW_MS} (31 days)."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConf:
    client_key: DefaultLimit = DefaultLimit()
    domain: DefaultLimit = DefaultLimit()
