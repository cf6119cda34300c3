"""Domains, client keys and credentials of people who do not exist."""

from dataclasses import dataclass
from uuid import UUID

from accounts.models import ClientKey, Credential, Domain

KEYS = ("Ada's laptop", "Grace's laptop", "Nightly build", "Review bot")
CREDENTIALS = ("Team key", "Spare key")
MARK = "(made up)"


@dataclass(frozen=True, slots=True)
class Caller:
    domain_id: UUID
    client_key_id: UUID
    credential_ids: tuple[UUID, UUID]
    """The one that is used, and the one that rarely is."""
    address: str
    weight: float
    """How much of the traffic is this caller's, beside the others."""


def cast(domains: int) -> list[Caller]:
    """Made where they are missing. The secrets of the client keys are thrown away: nobody can call with them."""
    found = []
    for number in range(1, domains + 1):
        domain, _ = Domain.objects.get_or_create(host=f"made-up-{number}.example.com")
        names = enumerate(CREDENTIALS)
        used, spare = (_credential(domain, f"{name} {MARK}", priority) for priority, name in names)
        for place, name in enumerate(KEYS, 1):
            # The first domain and its first key have most of it: lists are asked for busy and for quiet ones.
            weight = 1 / (number**1.5 * place)
            key = _client_key(domain, f"{name} {MARK}")
            found.append(Caller(domain.id, key.id, (used.id, spare.id), f"192.0.2.{place}", weight))
    return found


def _client_key(domain: Domain, name: str) -> ClientKey:
    return ClientKey.objects.filter(domain=domain, name=name).first() or ClientKey.issue(domain, name)[0]


def _credential(domain: Domain, name: str, priority: int) -> Credential:
    found: Credential | None = Credential.objects.filter(domain=domain, name=name).first()
    secret = f"sk-ant-api03-fake-made-up-{domain.host}-{priority}"
    return found or Credential.objects.create(domain=domain, name=name, secret=secret, priority=priority)
