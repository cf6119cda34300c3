"""Where tokens come from, as frozen values that check themselves."""

from dataclasses import dataclass, field
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

FORMATS = ("json", "form")


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthConf:
    """There is no client id, and no place to sign in, but those that the operator names (design.md 3)."""

    token_url: str
    authorize_url: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    scopes: tuple[str, ...] = ()
    redirect_url: str = ""
    """Of the admin, as the client is registered; empty: as the browser calls it."""
    token_format: str = "json"  # noqa: S105 (no secret)
    """How the token endpoint is asked: the API's takes JSON, RFC 6749 a form."""
    federation_dirs: tuple[Path, ...] = ()
    """Folders in which the platform puts identity tokens: no other file is ever read."""
    federation_command: tuple[str, ...] = field(default=(), repr=False)
    """Prints an identity token."""

    def __post_init__(self) -> None:
        if self.token_format not in FORMATS:
            raise ImproperlyConfigured(f"CLAUDE_OAUTH_TOKEN_FORMAT={self.token_format!r}: use json or form.")
        for name, url in (
            ("CLAUDE_OAUTH_TOKEN_URL", self.token_url),
            ("CLAUDE_OAUTH_AUTHORIZE_URL", self.authorize_url),
        ):
            if "@" in url or "#" in url:
                raise ImproperlyConfigured(f"{name}: use a URL without a user and without a fragment.")

    @property
    def is_form(self) -> bool:
        return self.token_format == FORMATS[1]
