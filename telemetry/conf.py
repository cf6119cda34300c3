"""The settings of the record as frozen values that check themselves."""

from dataclasses import dataclass, field
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured, ValidationError

from telemetry.notices.addresses import validate_url


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolConf:
    """Where exchanges wait for the database, and how much of it."""

    root: Path
    """One folder per process is made in it."""
    max_bytes: int = 2_000_000_000
    """Beyond it new bodies are dropped; rows never are."""
    inline_max_bytes: int = 20_000
    """Bodies of more are written by a thread: the event loop gives an entry 100 µs at p99, and 64 KB took 150."""
    memory_max_bytes: int = 64_000_000
    """How much of what waits is held in memory too, so that it need not be read back."""
    segment_max_entries: int = 2000
    segment_max_bytes: int = 16_000_000
    segment_seconds: float = 30
    """How long a file of the spool is written to when little happens: then it goes, and the bodies in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordConf:
    """How exchanges travel from memory to the database."""

    spool: SpoolConf | None = None
    store_bodies: bool = True
    batch_size: int = 500
    batch_seconds: float = 0.25
    queue_max_exchanges: int = 50_000
    """Of exchanges that wait in memory because the spool cannot be written: beyond it new ones are dropped."""
    queue_max_bytes: int = 256_000_000
    """Of their bodies: beyond it new bodies are dropped, rows stay."""
    flush_seconds: float = 5
    """How long a stopping process waits for the database to take what is queued."""
    retain_bodies_days: int = 90
    """How long bodies are kept where their domain does not say; 0 is for ever."""
    retain_rows_days: int = 730


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackConf:
    """How Slack is reached where neither a domain nor the installation has settings of its own."""

    is_on: bool = True
    webhook_url: str = field(default="", repr=False)
    bot_token: str = field(default="", repr=False)
    """With it messages go through chat.postMessage, which has threads; a webhook has none."""
    api_url: str = "https://slack.com/api/"
    channel: str = ""
    username: str = "Nexus"
    icon_emoji: str = ":robot_face:"

    def __post_init__(self) -> None:
        for name, url in (("SLACK_WEBHOOK_URL", self.webhook_url), ("SLACK_API_URL", self.api_url)):
            try:
                if url:
                    validate_url(url)
            except ValidationError as error:
                raise ImproperlyConfigured(f"{name}: {error.message}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticesConf:
    """What people and their programs are told."""

    is_on: bool = True
    slack: SlackConf = SlackConf()
