"""Redaction of the stored copy of bodies: what a domain that asked for it does not want in its record.

Nothing here touches what travels. Free of Django but for the compiled patterns of a domain.
"""

import json
import re
import secrets
import time
from collections.abc import Callable
from typing import Any

import msgspec
import regex

from accounts.patterns import compiled
from telemetry.record import pieces, sensitive
from telemetry.record.message import message_from_stream
from telemetry.record.pieces import Split

PATTERN_MARK = "[redacted:pattern]"
BUDGET_SECONDS = 0.25
"""What a domain's own patterns may take of the thread's time, for one body: they may backtrack without end."""
TOO_DEEP = "The body is nested too deeply to be redacted."


class RedactionFailed(Exception):
    """The copy cannot be redacted with certainty, and so must not be stored."""


class RedactionTimedOut(RedactionFailed):
    """The domain's own patterns took too long, and would again."""


class Redactor:
    """Of one domain. May be used by many threads at once."""

    def __init__(self, patterns: tuple[str, ...] = ()) -> None:
        self._patterns = tuple(compiled(pattern) for pattern in patterns)

    def text(self, text: str) -> str:
        """Raises RedactionFailed, as all of these do."""
        return _Pass(self._patterns).text(text)

    def headers(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        run = _Pass(self._patterns)
        return [
            (name, sensitive.SECRET if sensitive.is_secret_name(name) else run.text(value)) for name, value in pairs
        ]

    def json(self, raw: bytes) -> bytes:
        """A JSON value with its strings redacted as they read, whatever escapes they are written in; `raw` itself where
        there is nothing to redact. What is not JSON is redacted as text."""
        return self._json(raw, frozenset())

    def request(self, body: bytes, redacted_piece: Callable[[bytes], bytes]) -> Split:
        """As `pieces.split` would split the redacted body. The caller knows which pieces it has redacted before."""
        split = pieces.split(body)
        if not split.pieces:
            return Split([self.json(body)], [])
        start = f"piece-{secrets.token_hex(8)}-"
        tokens = [f"{start}{index}" for index in range(len(split.pieces))]
        skeleton = _woven(split.literals, [f'"{token}"'.encode() for token in tokens])
        if not _is_json(skeleton):  # the bytes of a piece were found within a string that came before it
            return Split([self.json(body)], [])
        redacted = self._json(skeleton, frozenset(tokens))
        # Of two equal keys the last one counts: a token that stood in the other is gone, and its piece with it.
        parts = re.split(rf'"{start}(\d+)"'.encode(), redacted)
        return Split(parts[::2], [redacted_piece(split.pieces[int(index)]) for index in parts[1::2]])

    def response(self, body: bytes, is_stream: bool) -> bytes:
        """A stream is kept as the message that it makes, since a secret may be spread over its events; empty where it
        makes none."""
        if (not is_stream and not body.startswith((b"event:", b"data:"))) or body.lstrip()[:1] in (b"{", b"["):
            return self.json(body)
        message = message_from_stream(body)
        return b"" if message is None else self.json(_encoded(message))

    def _json(self, raw: bytes, kept: frozenset[str]) -> bytes:
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise RedactionFailed("The body is neither JSON nor text in UTF-8.") from None
        run = _Pass(self._patterns, kept)
        try:
            value = json.loads(text, object_pairs_hook=run.object)
        except ValueError:
            return run.text(text).encode()
        except RecursionError:
            raise RedactionFailed(TOO_DEEP) from None
        redacted = run.whole(value)
        return _encoded(redacted) if run.has_changed else raw


class _Pass:
    """One body's way through redaction: what it has found so far, and the time it has left."""

    def __init__(self, patterns: "tuple[regex.Pattern[str], ...]", kept: frozenset[str] = frozenset()) -> None:
        self.has_changed = False
        self._patterns = patterns
        self._kept = kept
        self._seconds_left = BUDGET_SECONDS
        self._known: dict[str, str] = {}

    def object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Of two equal keys only the last can be looked through, so the other must not stay in the bytes."""
        value = dict(pairs)
        self.has_changed |= len(value) < len(pairs)
        return value

    def whole(self, value: Any) -> Any:
        try:
            return self._value(value)
        except RecursionError:
            raise RedactionFailed(TOO_DEEP) from None

    def _value(self, value: Any) -> Any:
        match value:
            case str():
                return self._noted(value, value if value in self._kept else self.text(value))
            case dict():
                return self._fields(value)
            case list():
                return self._elements(value)
            case bool() | None:
                return value
            case int() | float() if _is_card_number(value):
                return self._noted(value, sensitive.CARD)
        return value

    def text(self, text: str) -> str:
        """Names and small values come again and again: each is looked at once."""
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = self._without_patterns(sensitive.redacted(text))
        return known

    def _fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        redacted: dict[str, Any] = {}
        counts: dict[str, int] = {}
        for name, value in fields.items():
            is_secret = isinstance(value, str) and value and sensitive.is_secret_name(name)
            value = self._noted(value, sensitive.SECRET) if is_secret else self._value(value)
            redacted[self._free_name(name, redacted, counts)] = value
        return redacted

    def _free_name(self, name: str, taken: dict[str, Any], counts: dict[str, int]) -> str:
        """Names that differed may be equal now: the later ones get a number."""
        new = free = name if name in self._kept else self._noted(name, self.text(name))
        while free in taken:
            counts[new] = counts.get(new, 1) + 1
            free = f"{new} {counts[new]}"
        return free

    def _elements(self, elements: list[Any]) -> list[Any]:
        """Notebooks keep a text as a list of lines: a private key that begins in one goes on in the next."""
        redacted = []
        in_key = False
        for element in elements:
            if in_key and isinstance(element, str):
                in_key = not sensitive.ends_private_key(element)
                redacted.append(self._noted(element, sensitive.PRIVATE_KEY))
                continue
            in_key = isinstance(element, str) and sensitive.has_open_private_key(element)
            redacted.append(self._value(element))
        return redacted

    def _noted(self, before: Any, after: Any) -> Any:
        self.has_changed |= after != before
        return after

    def _without_patterns(self, text: str) -> str:
        for pattern in self._patterns:
            before = time.thread_time()
            try:
                text = pattern.sub(_mark, text, timeout=max(self._seconds_left, 0.001))
            except (TimeoutError, MemoryError):
                self._seconds_left = 0
            self._seconds_left -= time.thread_time() - before
            if self._seconds_left <= 0:
                raise RedactionTimedOut(f"The domain's own patterns took more than {BUDGET_SECONDS} s for one body.")
        return text


def _mark(match: "regex.Match[str]") -> str:
    return PATTERN_MARK if match[0] else ""  # some match between two letters, where there is nothing to replace


def _is_card_number(number: int | float) -> bool:
    return 1e12 <= number < 1e19 and number == int(number) and sensitive.is_card(str(int(number)))


def _woven(literals: list[bytes], between: list[bytes]) -> bytes:
    parts = [literals[0]]
    for part, literal in zip(between, literals[1:], strict=True):
        parts += (part, literal)
    return b"".join(parts)


def _is_json(raw: bytes) -> bool:
    try:
        json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return True


def _encoded(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold as an escape only
        return json.dumps(value, separators=(",", ":")).encode()
    except RecursionError:
        raise RedactionFailed(TOO_DEEP) from None
