"""Asks the API with a credential whether it takes it: one call that costs nothing, a list of models.

Sync, for the admin, the command, Celery and, in a thread, the hot path. It knows what an answer says about the
credential and what it says about something else."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import httpx
import msgspec
from django.conf import settings
from django.db import close_old_connections
from django.utils import timezone

from accounts.crypto import WrongEncryptionKey
from accounts.models import Credential, OAuthToken
from accounts.oauth.endpoint import TokenError
from accounts.oauth.refreshing import refresh
from accounts.secret import without_secrets
from telemetry.credentials import marking
from telemetry.credentials.headroom import Window, windows

SECONDS = 10.0
"""For each step of the call; of an answer that takes longer no more is read."""
ANSWER_MAX_BYTES = 2_000_000
MODELS_MAX = 1000
MESSAGE_LENGTH = 200
HEADERS = [
    (b"anthropic-version", b"2023-06-01"),
    (b"accept", b"application/json"),
    (b"user-agent", b"nexus-gateway"),
]
OAUTH_BETA = b"oauth-2025-04-20"


class Verdict(StrEnum):
    TAKEN = "taken"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """The answer says nothing about the credential, or there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    verdict: Verdict
    status: int | None = None
    """HTTP; None: no answer came."""
    latency_ms: int | None = None
    """Until the head of the answer was there."""
    organization_id: str = ""
    workspace_id: str = ""
    models: tuple[str, ...] = ()
    limits: tuple[Window, ...] = ()
    """That this answer names; those of other answers are on the board (`telemetry.credentials.reading`)."""
    problem: str = ""
    advice: str = ""
    was_asked: bool = True
    """False: there was nothing to ask with."""

    @property
    def is_ok(self) -> bool:
        return self.verdict is Verdict.TAKEN

    @property
    def sentence(self) -> str:
        return f"{self.problem} {self.advice}".strip()


class _Error(msgspec.Struct):
    type: str = ""
    message: str = ""


class _Envelope(msgspec.Struct):
    error: _Error


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: httpx.Headers
    body: bytes
    latency_ms: int

    @property
    def error(self) -> _Error:
        """As the API words it; an empty one where something else has answered."""
        try:
            return msgspec.json.decode(self.body, type=_Envelope).error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _Error()


class _NoSecret(Exception):
    """There is nothing to ask with; the two arguments are the problem and the advice."""


def check_by_id(credential_id: UUID) -> Check | None:
    """For threads, which come and go: it leaves no connection behind. None: it is gone."""
    close_old_connections()
    try:
        credential = Credential.objects.select_related("token").filter(id=credential_id).first()
        return check(credential) if credential else None
    finally:
        close_old_connections()


def check(credential: Credential) -> Check:
    """Asks, and notes and marks what the answer says of it. A token that is over, or that is not taken, is renewed
    first."""
    try:
        found, version = _asked(credential)
    except _NoSecret as missing:
        problem, advice = missing.args
        found, version = Check(verdict=Verdict.UNKNOWN, problem=problem, advice=advice, was_asked=False), None
    _note(credential.id, found)
    # what was asked with may have been replaced meanwhile, and the answer is not about its successor
    if version is not None and version == _version_of(credential):
        _mark(credential.id, found)
    return found


def _asked(credential: Credential) -> tuple[Check, str]:
    """And what tells the secret that was asked with from those before and after it. Raises _NoSecret."""
    try:
        if not credential.is_renewable:
            is_bearer = credential.kind != Credential.Kind.API_KEY
            return ask(credential.secret or "", is_bearer=is_bearer), credential.fingerprint
        return _asked_with_token(credential)
    except WrongEncryptionKey:
        advice = "Add the key that it was stored with."
        raise _NoSecret("It cannot be read with NEXUS_ENCRYPTION_KEYS.", advice) from None


def _asked_with_token(credential: Credential) -> tuple[Check, str]:
    try:
        token = refresh(credential.id)
    except TokenError as error:
        raise _NoSecret(error.message, "") from None
    found = ask(token.access_token, is_bearer=True)
    if found.verdict is Verdict.REFUSED:
        with suppress(TokenError):  # then what was found counts
            token = refresh(credential.id, stale_version=token.version)
            found = ask(token.access_token, is_bearer=True)
    return found, str(token.version)


def ask(secret: str, *, is_bearer: bool) -> Check:
    """Plain: it reads and writes no row."""
    bearer = [(b"authorization", b"Bearer " + secret.encode()), (b"anthropic-beta", OAUTH_BETA)]
    headers = HEADERS + (bearer if is_bearer else [(b"x-api-key", secret.encode())])
    try:
        answer = _get(f"{settings.UPSTREAM.base_url}/v1/models?limit={MODELS_MAX}", headers)
    except (httpx.TimeoutException, TimeoutError):
        return _unknown(f"The API has not answered within {SECONDS:g} seconds.", "Look at the network, or try again.")
    except httpx.HTTPError as error:
        # Only its kind: the text of some errors quotes headers.
        reason = type(error).__name__
        return _unknown(f"The API cannot be reached ({reason}).", "Look at the network and at CLAUDE_API_BASE_URL.")
    return _read(answer, secret)


def _get(url: str, headers: list[tuple[bytes, bytes]]) -> _Answer:
    """Raises httpx.HTTPError, TimeoutError."""
    begun = time.monotonic()
    with (
        httpx.Client(timeout=SECONDS, follow_redirects=False) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        latency_ms = round((time.monotonic() - begun) * 1000)
        body = b"".join(_within(response.iter_bytes(), begun + SECONDS))
    return _Answer(response.status_code, response.headers, body, latency_ms)


def _within(pieces: Iterator[bytes], deadline: float) -> Iterator[bytes]:
    """No more than `ANSWER_MAX_BYTES` of them. Raises TimeoutError."""
    size = 0
    for piece in pieces:
        if time.monotonic() > deadline:
            raise TimeoutError
        yield piece[: ANSWER_MAX_BYTES - size]
        size += len(piece)
        if size >= ANSWER_MAX_BYTES:
            return


# --- What an answer says ---------------------------------------------------------------------------------------------


def _read(answer: _Answer, secret: str) -> Check:
    verdict, problem, advice = _judged(answer)
    said = _plain(answer.error.message.replace(secret, "…"))
    models = _models(answer)
    if verdict is Verdict.TAKEN and models is None:
        verdict = Verdict.UNKNOWN
        problem, advice = "What answered is not the Claude API.", "Look at CLAUDE_API_BASE_URL."
    return Check(
        verdict=verdict,
        status=answer.status,
        latency_ms=answer.latency_ms,
        organization_id=_plain(answer.headers.get("anthropic-organization-id", ""))[:100],
        workspace_id=_plain(answer.headers.get("anthropic-workspace-id", ""))[:100],
        models=models or (),
        limits=windows([(name.lower(), value) for name, value in answer.headers.raw]),
        problem=f"{problem} It says: {said.rstrip('.')}." if said else problem,
        advice=advice,
    )


def _judged(answer: _Answer) -> tuple[Verdict, str, str]:
    """What it means for the credential, what is wrong, and what to do."""
    status = answer.status
    if status == 200:
        return Verdict.TAKEN, "", ""
    if status == 401:
        return Verdict.REFUSED, "The API does not take it (401).", "Paste a new key, or sign in again."
    if status == 403:
        return _forbidden(answer.error)
    if status in _SAID:
        return Verdict.UNKNOWN, *_SAID[status]
    if status >= 500:
        return Verdict.UNKNOWN, f"The API is in trouble ({status}).", "That is not about the credential: try again."
    return Verdict.UNKNOWN, f"The API answers {status}.", "That is not about the credential."


_SAID = {
    402: ("The API wants to be paid first (402).", "Look at the credit balance of its organization."),
    404: ("There is no list of models (404).", "Look at CLAUDE_API_BASE_URL: it ends before /v1."),
    429: ("The API answers 429: limits are reached.", "That is not about the credential: wait, or ask for more."),
    529: ("The API is overloaded (529).", "That is not about the credential: try again."),
}


def _forbidden(error: _Error) -> tuple[Verdict, str, str]:
    """A firewall says 403 too, and a token may be good for messages that must not list models."""
    if error.type not in ("permission_error", "authentication_error"):
        advice = "Look at proxies and firewalls between Nexus and the API."
        return Verdict.UNKNOWN, "Something on the way says 403, and not in the API's words.", advice
    if "scope" in error.message.lower():
        advice = "Whether it is good for messages is not known."
        return Verdict.UNKNOWN, "It lacks the scope for a list of models (403).", advice
    return Verdict.REFUSED, "The API lets it do nothing (403).", "Give its owner's workspace access, or replace it."


def _models(answer: _Answer) -> tuple[str, ...] | None:
    """None: that is no list of models."""
    try:
        found = msgspec.json.decode(answer.body, type=_Models).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return tuple(_plain(model.id) for model in found[:MODELS_MAX])


def _unknown(problem: str, advice: str) -> Check:
    return Check(verdict=Verdict.UNKNOWN, problem=problem, advice=advice)


def _plain(text: str) -> str:
    """What others wrote, for a line of ours."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return without_secrets(line)[:MESSAGE_LENGTH]


# --- What is kept of it ----------------------------------------------------------------------------------------------


def _version_of(credential: Credential) -> str | None:
    """As it is now."""
    if credential.is_renewable:
        version = OAuthToken.objects.filter(credential_id=credential.id).values_list("version", flat=True).first()
        return None if version is None else str(version)
    return Credential.objects.filter(id=credential.id).values_list("fingerprint", flat=True).first()


def _note(credential_id: UUID, found: Check) -> None:
    values: dict[str, Any] = {
        "checked_at": timezone.now(),
        "check_status": found.status,
        "check_message": found.sentence[: marking.REASON_MAX],
        "latency_ms": found.latency_ms,
    }
    if found.organization_id:
        values["organization_id"] = found.organization_id
    if found.is_ok:
        values["models_seen"] = list(found.models)
    marking.note(credential_id, **values)


def _mark(credential_id: UUID, found: Check) -> None:
    if found.verdict is Verdict.TAKEN:
        marking.mark_valid(credential_id)
    elif found.verdict is Verdict.REFUSED:
        marking.mark_invalid(credential_id, found.problem)
