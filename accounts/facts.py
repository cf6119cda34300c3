"""The register as frozen facts: what the hot path knows of who may call us, with what, and how much."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from accounts.modelrules import Unpriced
from accounts.privacy import Storage


@dataclass(frozen=True, slots=True)
class DomainFacts:
    id: UUID
    host: str
    is_active: bool
    allow_passthrough: bool
    storage: Storage = Storage.FULL
    redaction_patterns: tuple[str, ...] = ()
    allowed_models: tuple[str, ...] = ()
    """Patterns; none: any model."""


@dataclass(frozen=True, slots=True)
class ClientKeyFacts:
    id: UUID
    name: str
    domain: DomainFacts
    digest: str = field(repr=False)
    expires_at: datetime | None
    revoked_at: datetime | None
    allowed_models: tuple[str, ...] = ()
    """Its own, beside its domain's."""
    unpriced: Unpriced = Unpriced.ASSUME
    """Its own rule, else its domain's; so is the next."""
    max_wait_seconds: int = 0
    weight: int = 1
    is_background: bool = False
    previous_digest: str = field(default="", repr=False)
    """Of the secret that it had before it was rotated."""
    previous_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class CredentialFacts:
    """`id` is None for a credential that is not in the register: CLAUDE_API_KEY, or the caller's own."""

    id: UUID | None
    name: str
    is_bearer: bool
    secret: str = field(repr=False)
    """Empty for one that has no token yet."""
    is_renewable: bool = False
    """Nexus gets its token anew before it expires."""
    expires_at: datetime | None = None
    """Of the key or token."""
    token_version: int = 0
    priority: int = 0
    weight: int = 1
    is_standby: bool = False
    allowed_models: tuple[str, ...] = ()
    """Patterns; none: any model."""
    replaces_id: UUID | None = None
    traffic_percent: int = 0
    """Of the sessions that would use the replaced one."""
    invalid_since: datetime | None = None
    invalid_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitFacts:
    """A `RateLimit`; at most one of the three ids is set, and what is None is not limited."""

    id: UUID
    domain_id: UUID | None
    client_key_id: UUID | None
    credential_id: UUID | None
    label: str
    model_pattern: str
    requests_per_minute: int | None
    requests_per_hour: int | None
    input_tokens_per_minute: int | None
    input_tokens_per_hour: int | None
    output_tokens_per_minute: int | None
    output_tokens_per_hour: int | None
    concurrent_requests: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetFacts:
    """A `Budget`; columns mean what it says."""

    id: UUID
    name: str
    domain_id: UUID | None
    client_key_id: UUID | None
    each: str
    period: str
    amount_usd: Decimal
    max_request_usd: Decimal | None
    starts_at: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    generation: int
    pepper: str = field(repr=False)
    domains: Mapping[str, DomainFacts] = field(default_factory=dict)
    keys_by_prefix: Mapping[str, tuple[ClientKeyFacts, ...]] = field(default_factory=dict)
    credentials: Mapping[UUID, tuple[CredentialFacts, ...]] = field(default_factory=dict)
    """The pool of each domain that has one: its own credentials that are switched on and can be read, and those that
    are shared with it, by priority. An empty list is not the same as none at all: another's credential must not step in
    for one that is switched off."""
    limits: tuple[LimitFacts, ...] = ()
    """Those that are switched on, here and below."""
    budgets: tuple[BudgetFacts, ...] = ()
