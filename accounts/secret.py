"""What a secret may look like, and how it is shown: never more than its kind and its last four characters."""

import hashlib
import hmac
import json
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


def prefix_of(secret: str, computed: str) -> str:
    """By what a client key is looked up: its beginning, or, of one that is not ours, a part of its digest, as its
    beginning may be all there is to guess."""
    return secret[:PREFIX_LENGTH] if secret.startswith(CLIENT_KEY_START) else f"#{computed[: PREFIX_LENGTH - 1]}"


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


HIDDEN_MIN_LENGTH = 12
"""A shorter password may be a word that log lines are made of."""
_hidden: set[str] = set()
_WORDS = (
    "ookie",
    "assword",
    "pi_key",
    "pi-key",
    "pikey",
    "us-key",
    "rd-key",
    "ecret",
    "ss_token",
    "sh_token",
    "id_token",
)
_MARKS = (
    *("nxs_live_", "sk-ant-", "earer ", "EARER ", "hooks.slack.com", "gAAAAA", "://", "xox", "eyJ"),
    *_WORDS,
    *(word.upper() for word in _WORDS),
)
"""Most lines have none of these, and to look for them costs a tenth of what the expression does."""
_SECRETS = re.compile(
    r"(?P<kind>nxs_live_|sk-ant-)[\w-]+"
    r"|(?P<bearer>(?i:bearer) )[\w.~+/=-]{8,}"
    r"|(?P<slack>hooks\.slack\.com/)[\w/-]+"
    r"|(?P<token>xox[a-z]-|gAAAAA)[\w=-]{8,}"
    r"|(?P<jwt>eyJ)[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"
    r"|(?P<scheme>://)(?P<user>[^\s/@:\"']*):[^\s/\"']+(?=@)"
    r"|(?P<cookie>(?i:cookie)\\*[\"']?(?:\s?[:=]|,)\s*b?\\*[\"']?)[^\"'\\\n]{6,}"
    # A header or a field by its name; never a count, whose name ends in "tokens".
    r"|(?P<name>(?i:x-(?:api|nexus|dashboard)-key|api_?key|password|secret|(?:access|refresh|id)_token)"
    r"\\*[\"']?(?:\s?[:=]|,)\s*b?\\*[\"']?)[^\s\"'\\,;&)}\]]{6,}"
)


def hide(*secrets: str) -> None:
    """These very words are cut out of every log line, whatever they look like."""
    for secret in (secret.strip() for secret in secrets):
        if len(secret) >= HIDDEN_MIN_LENGTH:
            _hidden.update((secret, json.dumps(secret)[1:-1]))


def without_secrets(text: str) -> str:
    """For log lines and whatever else leaves the process as text: what looks like a secret is cut after its kind, and
    what was told to `hide` goes whole."""
    for secret in tuple(_hidden):
        if secret in text:
            text = text.replace(secret, "…")
    if not any(mark in text for mark in _MARKS):
        return text
    return _SECRETS.sub(_cut, text)


def _cut(found: "re.Match[str]") -> str:
    start = next(found.group(name) for name in _STARTS if found.group(name))
    return f"{start}{found.group('user') + ':' if found.group('scheme') else ''}…"


_STARTS = ("kind", "bearer", "slack", "token", "jwt", "scheme", "cookie", "name")
