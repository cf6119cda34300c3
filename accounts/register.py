"""The register as the hot path sees it: a frozen snapshot per process, replaced whole when something changes."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import fields
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import close_old_connections, transaction

from accounts import models
from accounts.crypto import WrongEncryptionKey
from accounts.facts import BudgetFacts, ClientKeyFacts, CredentialFacts, DomainFacts, LimitFacts, Snapshot
from accounts.modelrules import Unpriced, model_patterns
from accounts.patterns import pattern_lines
from accounts.privacy import Storage

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""A change is asked for by one indexed read a second: it reaches every node within two seconds, and there is no
message that could be lost."""


def load() -> Snapshot:
    """Reads the whole register. Raises WrongEncryptionKey if not even the pepper can be read."""
    with transaction.atomic():
        installation = models.Installation.current()
        rows = {row.id: row for row in models.Domain.objects.all()}
        domains = {row.id: _domain(row) for row in rows.values()}
        keys: dict[str, tuple[ClientKeyFacts, ...]] = {}
        for row in models.ClientKey.objects.order_by("prefix"):
            if row.domain_id not in domains:
                continue  # committed between the two queries: the next generation brings both
            facts = _client_key(row, rows[row.domain_id], domains[row.domain_id])
            for prefix in {row.prefix, row.previous_prefix} - {""}:
                keys[prefix] = (*keys.get(prefix, ()), facts)
        credentials = _credentials()
        limits, budgets = _limits(), _budgets()
    return Snapshot(
        generation=installation.generation,
        pepper=installation.pepper,
        domains={domain.host: domain for domain in domains.values()},
        keys_by_prefix=keys,
        credentials=credentials,
        limits=limits,
        budgets=budgets,
    )


def _domain(row: models.Domain) -> DomainFacts:
    return DomainFacts(
        row.id,
        row.host,
        row.is_active,
        row.allow_passthrough,
        Storage(row.storage),
        pattern_lines(row.redaction_patterns),
        model_patterns(row.allowed_models),
    )


def _client_key(row: models.ClientKey, domain: models.Domain, facts: DomainFacts) -> ClientKeyFacts:
    waits = domain.max_wait_seconds if row.max_wait_seconds is None else row.max_wait_seconds
    return ClientKeyFacts(
        row.id,
        row.name,
        facts,
        row.digest,
        row.expires_at,
        row.revoked_at,
        model_patterns(row.allowed_models),
        Unpriced(row.unpriced_models or domain.unpriced_models),
        waits,
        row.weight,
        row.is_background,
        row.previous_digest,
        row.previous_until,
    )


def _limits() -> tuple[LimitFacts, ...]:
    rows = models.RateLimit.objects.filter(is_active=True).select_related("domain", "client_key", "credential")
    return tuple(map(limit_facts, rows))


def _budgets() -> tuple[BudgetFacts, ...]:
    rows = models.Budget.objects.filter(is_active=True)
    return tuple(map(budget_facts, rows))


def limit_facts(row: models.RateLimit) -> LimitFacts:
    return LimitFacts(label=row.scope_label, **_same(row, LimitFacts, "label"))


def budget_facts(row: models.Budget) -> BudgetFacts:
    return BudgetFacts(**_same(row, BudgetFacts))


def _same(row: Any, facts: Any, *but: str) -> dict[str, Any]:
    """The columns of the same names."""
    return {field.name: getattr(row, field.name) for field in fields(facts) if field.name not in but}


def _credentials() -> dict[UUID, tuple[CredentialFacts, ...]]:
    pools: dict[UUID, tuple[CredentialFacts, ...]] = {}
    shared = _shared_with()
    rows = models.Credential.objects.order_by("is_standby", "priority", "created_at")
    for row in rows.select_related("token", "standing").defer("token__refresh_token"):
        facts = _credential(row) if row.is_active else None
        for domain_id in (row.domain_id, *shared.get(row.id, ())):
            pool = pools.setdefault(domain_id, ())
            if facts is not None:
                pools[domain_id] = (*pool, facts)
    return pools


def _shared_with() -> dict[UUID, list[UUID]]:
    found: dict[UUID, list[UUID]] = {}
    for credential_id, domain_id in models.Credential.shared_with.through.objects.values_list(
        "credential_id", "domain_id"
    ):
        found.setdefault(credential_id, []).append(domain_id)
    return found


def _credential(row: models.Credential) -> CredentialFacts | None:
    token = getattr(row, "token", None) if row.is_renewable else None
    standing = getattr(row, "standing", None)
    try:
        secret = (token.access_token if token else None) if row.is_renewable else row.secret
    except WrongEncryptionKey:
        # One unreadable secret must not take the other domains down.
        logger.error("credential %s (%s) is left out: NEXUS_ENCRYPTION_KEYS cannot read it", row.name, row.id)
        return None
    return CredentialFacts(
        row.id,
        row.name,
        is_bearer=row.kind != models.Credential.Kind.API_KEY,
        secret=secret or "",
        is_renewable=row.is_renewable,
        expires_at=token.expires_at if token else row.expires_at,
        token_version=token.version if token else 0,
        priority=row.priority,
        weight=row.weight,
        is_standby=row.is_standby,
        allowed_models=model_patterns(row.allowed_models),
        replaces_id=row.replaces_id,
        traffic_percent=row.traffic_percent if row.replaces_id else 0,
        invalid_since=standing.invalid_since if standing else None,
        invalid_reason=standing.invalid_reason if standing else "",
    )


class Register:
    """Holds the snapshot of this process and keeps it fresh."""

    def __init__(self, also_load: Callable[[], None] = lambda: None) -> None:
        """`also_load` reads, in a thread, what else changes with the generation."""
        self._also_load = also_load
        self.snapshot = Snapshot(generation=0, pepper="")
        self._failing = False

    async def start(self) -> None:
        self.snapshot = await sync_to_async(_in_own_connection, thread_sensitive=False)(self._load)

    async def keep_fresh(self) -> None:
        """Runs until cancelled. Without a database the last snapshot stays in force."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.refresh()

    async def refresh(self) -> None:
        try:
            self.snapshot = await sync_to_async(_in_own_connection, thread_sensitive=False)(self._newest)
            if self._failing:
                logger.warning("the register can be read again")
            self._failing = False
        except Exception as error:  # whatever it is: a process that stopped listening would honour revoked keys
            if not self._failing:
                logger.error("the register cannot be read, the last known one stays: %s", type(error).__name__)
            self._failing = True

    def _newest(self) -> Snapshot:
        generation = models.Installation.objects.values_list("generation", flat=True).get(id=1)
        return self.snapshot if generation == self.snapshot.generation else self._load()

    def _load(self) -> Snapshot:
        snapshot = load()  # before the rest: a change that comes between is loaded with the next generation
        self._also_load()
        return snapshot


def _in_own_connection(read: Callable[[], Snapshot]) -> Snapshot:
    """Pool threads come and go: none may leave a connection behind that nobody checks."""
    close_old_connections()
    try:
        return read()
    finally:
        close_old_connections()
