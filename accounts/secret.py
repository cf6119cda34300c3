"""What a secret may look like, and how it is shown: never more than its kind and its last four characters."""

import hashlib
import hmac
import re
import secrets

from django.core.exceptions import ValidationError

CLIENT_KEY_START = "nxs_live_"
PREFIX_LENGTH = len(CLIENT_KEY_START) + 8
_KIND = re.compile(r"(sk-ant-[a-z]+\d*-|nxs_live_|sk-ant-)")


def new_client_key() -> str:
    """`nxs_live_` and 32 random bytes in URL-safe base64."""
    return CLIENT_KEY_START + secrets.token_urlsafe(32)


def new_pepper() -> str:
    return secrets.token_urlsafe(32)


def digest(secret: str, pepper: str) -> str:
    """HMAC-SHA256 in hex: a key of 256 random bits needs no slow hash."""
    return hmac.new(pepper.encode(), secret.encode(), hashlib.sha256).hexdigest()


def masked(secret: str) -> str:
    """`sk-ant-…last4`; a secret too short to hide at least eight characters is not shown at all."""
    kind = match.group(0) if (match := _KIND.match(secret)) else ""
    return f"{kind}…{secret[-4:]}" if len(secret) - len(kind) >= 13 else "…"


def validate_upstream_secret(secret: str) -> None:
    if not re.fullmatch(r"[\x21-\x7e]+", secret):
        raise ValidationError(
            "A key or token is one word of printable ASCII; this one holds a space, a line break or another character."
        )
    if secret.startswith(CLIENT_KEY_START):
        raise ValidationError("This is a client key of Nexus. Paste the key that Anthropic issued.")
    if len(secret) < 16:
        raise ValidationError("This is too short to be a key.")


_MARKS = ("nxs_live_", "sk-ant-", "earer ", "hooks.slack.com", "gAAAAA", "://", "xox")
_SECRETS = re.compile(
    r"(?P<kind>nxs_live_|sk-ant-)[\w-]+"
    r"|(?P<bearer>[Bb]earer )[\w.~+/=-]{8,}"
    r"|(?P<slack>hooks\.slack\.com/)[\w/-]+"
    r"|(?P<token>xox[a-z]-|gAAAAA)[\w=-]{8,}"
    r"|(?P<scheme>://)(?P<user>[^\s/@:\"']*):[^\s/@\"']+(?=@)"
)


def without_secrets(text: str) -> str:
    """For log lines and whatever else leaves the process as text: what looks like a secret is cut after its kind."""
    if not any(mark in text for mark in _MARKS):
        return text
    return _SECRETS.sub(_cut, text)


def _cut(found: "re.Match[str]") -> str:
    start = next(value for name in ("kind", "bearer", "slack", "token", "scheme") if (value := found.group(name)))
    return f"{start}{found.group('user') + ':' if found.group('scheme') else ''}…"
