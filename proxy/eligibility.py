"""Whether a credential can take a request now. Every path asks here: the first choice, the session's own, the next
after a failure."""

from enum import Enum
from typing import NamedTuple

import msgspec

from accounts.facts import CredentialFacts
from telemetry.credentials.board import Board
from telemetry.money.pricing import matches


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks of a credential."""

    model: str = ""
    family: str = ""
    """Of models: the API limits them apart."""
    session: str = ""
    """What shares a prompt cache, named so that it means nothing to anybody else."""
    owner: str = ""
    """The key of the credential with which was made what this request is about."""


class Hindrance(Enum):
    """Why a credential cannot be used, as people are told."""

    NO_TOKEN = "has no token yet"  # noqa: S105 (a sentence)
    INVALID = "was refused by the API"
    OTHER_MODEL = "is not for this model"
    OTHERS_PROPERTY = "did not make what this request is about"
    OPEN = "gets no answer from the API"
    COOLING = "has reached a limit of the API"


class Obstacle(NamedTuple):
    hindrance: Hindrance
    until: float = 0.0
    """Seconds since 1970; 0: for good, until somebody does something."""


def obstacle(credential: CredentialFacts, key: str, wanted: Wanted, board: Board, now: float) -> Obstacle | None:
    """What keeps this request from this credential; None: it is eligible."""
    if credential.invalid_since is not None:
        return Obstacle(Hindrance.INVALID)
    if wanted.owner and wanted.owner != key:
        return Obstacle(Hindrance.OTHERS_PROPERTY)
    if not credential.secret and not credential.is_renewable:
        return Obstacle(Hindrance.NO_TOKEN)
    if wanted.model and not _is_for(credential, wanted.model):
        return Obstacle(Hindrance.OTHER_MODEL)
    if (until := board.open_until(key, now)) is not None:
        return Obstacle(Hindrance.OPEN, until)
    if (cooling := board.cooling(key, wanted.family, now)) is not None:
        return Obstacle(Hindrance.COOLING, max(cooling.until, now + 1))
    return None


def eligible(credential: CredentialFacts, key: str, wanted: Wanted, board: Board, now: float) -> bool:
    return obstacle(credential, key, wanted, board, now) is None


def _is_for(credential: CredentialFacts, model: str) -> bool:
    patterns = credential.allowed_models
    return not patterns or any(matches(pattern, model) for pattern in patterns)
