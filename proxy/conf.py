"""The settings of the hot path as frozen values that check themselves."""

from dataclasses import dataclass, field

from django.core.exceptions import ImproperlyConfigured

from accounts.secret import CLIENT_KEY_START

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamConf:
    """Where the Claude API is and how long we wait for it. There is no limit on the length of a stream."""

    base_url: str
    default_api_key: str = field(default="", repr=False)
    connect_seconds: float = 10
    first_byte_seconds: float = 600
    idle_seconds: float = 300

    def __post_init__(self) -> None:
        if "?" in self.base_url or "#" in self.base_url:
            raise ImproperlyConfigured("CLAUDE_API_BASE_URL: use a URL without a query.")
        if "@" in self.base_url:
            raise ImproperlyConfigured("CLAUDE_API_BASE_URL: it names a user; credentials belong into the admin.")
        if self.default_api_key.startswith(CLIENT_KEY_START):
            raise ImproperlyConfigured("CLAUDE_API_KEY: this is a client key of Nexus, not a key of Anthropic's.")
        if any(character.isspace() for character in self.default_api_key):
            raise ImproperlyConfigured("CLAUDE_API_KEY: it contains white space; paste the key alone.")


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeConf:
    """What we accept from a client: the API's own size limits (facts/claude-api.md 5.3)."""

    messages_max_bytes: int = 32 * MEGABYTE
    batches_max_bytes: int = 256 * MEGABYTE
    files_max_bytes: int = 500 * MEGABYTE
    head_seconds: float = 30
    """How long a client may take for the head of its request."""
    body_idle_seconds: float = 30
    """How long a client may pause while it sends its body."""
    client_stall_seconds: float = 300
    """How long a client may take nothing of its answer before it counts as gone."""
    capture_max_bytes: int = 32 * MEGABYTE
    """How much of one answer is kept for the record."""
    checked_max_bytes: int = 64 * MEGABYTE
    """Of a message batch that has to be read whole before it is sent, since its models or its money are limited."""
    cors_origins: frozenset[str] = frozenset()

    def max_bytes(self, path: str) -> int:
        """The largest body that this path of the API takes."""
        if path.startswith("/v1/messages/batches"):
            return self.batches_max_bytes
        if path.startswith("/v1/files"):
            return self.files_max_bytes
        return self.messages_max_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitConf:
    """Waiting for room in a limit, where a client key may."""

    max_waiting: int = 1000
    """Requests that wait at once in one process; who comes then is refused."""
    keepalive_after_seconds: float = 10
    """From then on a streaming client gets comments, so that nobody on the way takes the silence for an end: its answer
    has begun with 200 then, whatever comes."""
    keepalive_seconds: float = 10
    """Between two of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryConf:
    """What Nexus tries again by itself before a client hears of a failure. The original's numbers."""

    max_attempts: int = 3
    """With one credential."""
    wait_seconds: float = 1.0
    """Before the second attempt, and half of it at most by chance on top; twice as long before each next one."""
    max_wait_seconds: float = 30.0
    """Also for what the API asks for by retry-after: where it wants more, nobody waits here."""
    budget_seconds: float = 60.0
    """Of all attempts of a request; who has used it up makes no new one."""
    max_credentials: int = 5
