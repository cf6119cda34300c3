"""A request on record as a line for the shell that sends it to Nexus again."""

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import msgspec
from zstandard import ZstdError

from telemetry.lookup import exchanges_called
from telemetry.models import BodyRow, ExchangeRow
from telemetry.record.pieces import MissingPiece

INLINE_MAX_BYTES = 100_000
"""One argument of a program may have 128 KiB (Linux, MAX_ARG_STRLEN)."""
KEY_VARIABLE = "NEXUS_KEY"
KEPT_HEADERS = ("accept", "content-encoding", "content-type")
KEPT_PREFIX = "anthropic-"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
"""A line feed is none: within quotes a shell takes it as it is."""
_headers = msgspec.json.Decoder(list[tuple[str, str]])


class CannotReplay(Exception):
    """Says why in a sentence."""


@dataclass(frozen=True, slots=True)
class Replay:
    line: str
    warnings: tuple[str, ...]


def replay(name: str, url: str, body_file: Path | None) -> Replay:
    """The line for the request of that id, of Nexus or of the API. Its body goes into a file where one is named or an
    argument cannot carry it. Raises CannotReplay."""
    if not url.startswith(("http://", "https://")):
        raise CannotReplay(f"{url} is not the URL of a Nexus: it begins with http:// or https://.")
    row = exchanges_called(name).select_related("body").first()
    if row is None:
        raise CannotReplay(f"There is no request {name} on record. Give a Nexus id, or the API's request id (req_…).")
    content, stored = _body(row)
    method = ["--head"] if row.method == "HEAD" else ["-X", row.method]
    target = quote(row.path, safe="/:@!$&'()*+,;=~") + (f"?{row.query}" if row.query else "")
    words = ["curl", "-N", "--globoff", *method, url.rstrip("/") + target]
    line = " ".join(map(shlex.quote, words))
    headers = _kept_headers(stored)
    if content and not any(header.startswith("content-type") for header in headers):
        headers.append("content-type:")  # or curl would name a form's
    line += "".join(f" -H {shlex.quote(header)}" for header in headers)
    line += f' -H "x-api-key: ${KEY_VARIABLE}"'
    if content:
        line += f" {_data(row, content, body_file)}"
    return Replay(line, tuple(_warnings(row, stored)))


def _body(row: ExchangeRow) -> tuple[bytes, BodyRow]:
    stored: BodyRow | None = getattr(row, "body", None)
    if stored is None:
        raise CannotReplay(f"The body of {row.id} was not kept, or has been deleted since: nothing to send again.")
    if not stored.request_is_whole:
        raise CannotReplay(f"The body of {row.id} is not on record as a whole: what was kept is not what was sent.")
    try:
        return stored.whole_request(), stored
    except MissingPiece as error:
        raise CannotReplay(f"The body of {row.id} cannot be put together any more. {error}") from None
    except (ValueError, ZstdError) as error:
        raise CannotReplay(f"The body of {row.id} cannot be read: {error}") from None


def _kept_headers(stored: BodyRow) -> list[str]:
    """What changes the meaning of a request. Not whose it was, nor how it travelled, nor in which session."""
    return [
        f"{name}: {value}" if value else f"{name};"  # curl's way to send an empty header
        for name, value in _headers.decode(stored.request_headers)
        if (name in KEPT_HEADERS or name.startswith(KEPT_PREFIX)) and not _CONTROL.search(value)
    ]


def _data(row: ExchangeRow, content: bytes, body_file: Path | None) -> str:
    text = _inline(content) if body_file is None else None
    if text is not None:
        # Not --data-binary: it would take a body that begins with @ for the name of a file.
        return f"--data-raw {shlex.quote(text)}"
    path = (body_file or Path(f"{row.id}.json")).absolute()
    _write_new(path, content)
    return f"--data-binary {shlex.quote(f'@{path}')}"


def _inline(content: bytes) -> str | None:
    """A text that an argument can carry, and that a terminal shows and takes as it is; else None."""
    if len(content) >= INLINE_MAX_BYTES:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text


def _write_new(path: Path, content: bytes) -> None:
    """For its owner alone: it holds what somebody said."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    except FileExistsError:
        raise CannotReplay(f"{path} is there already: name another file with --body-file.") from None
    except (OSError, ValueError) as error:
        raise CannotReplay(f"The body cannot be written to {path}: {error}") from None


def _warnings(row: ExchangeRow, stored: BodyRow) -> list[str]:
    found = []
    if stored.is_redacted:
        found.append("The stored body is redacted: parts of what was sent are replaced.")
    if max(len(row.path), len(row.query)) >= 500:
        found.append("The stored path or query was cut at 500 characters.")
    return found
