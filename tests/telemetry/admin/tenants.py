"""Two domains with a row of every kind in each, and what belongs to no domain; and those who look at one of the two.

All that is the other domain's has the word ZEBRA in it: where it can be read, somebody sees too much."""

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from accounts.ids import new_id
from accounts.models import Budget, ClientKey, Credential, Domain, Membership, OAuthToken, RateLimit
from telemetry.models import (
    Adjustment,
    BatchRow,
    BatchUsageRow,
    Delivery,
    ExchangeRow,
    Incident,
    IncidentStep,
    PriceRow,
    RepricingRow,
    RuleSettings,
    SlackSettings,
    Target,
    Webhook,
)
from tests.dashboard.asking import bare_exchange
from tests.telemetry.facts import stored_exchange

DAY = timedelta(days=1)
OURS, ZEBRA, NOBODYS = "walrus", "zebra", "yeti"
"""Words in all that is of one's own domain, of the other, and of none."""


@dataclass(slots=True)
class Tenant:
    word: str
    domain: Domain | None
    rows: dict[type[Model], list[Any]] = field(default_factory=dict)

    def add(self, row: Any) -> Any:
        self.rows.setdefault(type(row), []).append(row)
        return row

    def one(self, model: type[Model]) -> Any:
        return self.rows[model][0]


def tenant(word: str) -> Tenant:
    """A domain and a row of every kind that belongs to one."""
    made = Tenant(word, Domain.objects.create(host=f"{word}.example.com"))
    made.add(made.domain)
    key = made.add(ClientKey.issue(made.domain, f"{word} key")[0])  # type: ignore[arg-type]
    credential = made.add(_credential(made, f"{word} credential"))
    renewed = made.add(_credential(made, f"{word} renewed", kind="oauth", secret=None))
    OAuthToken.objects.create(credential=renewed, access_token="fake-access-token-of-a-test")
    for scope in ({"domain": made.domain}, {"client_key": key}, {"credential": credential}):
        made.add(RateLimit.objects.create(**scope, requests_per_minute=7, model_pattern=f"{word}-*"))
    _told(made)
    _spent(made, {"domain": made.domain}, {"client_key": key})
    _recorded(made, domain_id=made.domain.id, client_key_id=key.id, credential_id=credential.id)  # type: ignore[union-attr]
    return made


def nobody() -> Tenant:
    """What belongs to no domain."""
    made = Tenant(NOBODYS, None)
    made.add(RateLimit.objects.create(requests_per_minute=7, model_pattern=f"{NOBODYS}-*"))
    _told(made)
    _spent(made, {})
    prices = dict.fromkeys(("input", "output", "cache_write_5m", "cache_write_1h", "cache_read"), Decimal(1))
    made.add(PriceRow.objects.create(pattern="a-model", valid_from=timezone.now() + DAY, source="a page", **prices))
    made.add(Target.objects.create(id=NOBODYS, label=NOBODYS))
    made.add(RepricingRow.objects.create(asked_by=NOBODYS, patterns=NOBODYS))
    made.add(RuleSettings.objects.get_or_create(rule="error_rate")[0])
    one = bare_exchange(model=f"{NOBODYS}-model", user_agent=NOBODYS)
    made.add(ExchangeRow.objects.get(id=one.id))
    return made


def _credential(made: Tenant, name: str, **facts: Any) -> Credential:
    facts = {"kind": "api_key", "secret": f"sk-ant-api03-fake-secret-of-a-{made.word}"} | facts
    return Credential.objects.create(domain=made.one(Domain), name=name, owner=f"{made.word} owner", **facts)


def _spent(made: Tenant, *payers: dict[str, Any]) -> None:
    for payer in payers:
        made.add(Budget.objects.create(name=f"{made.word} budget", amount_usd=Decimal(10), each="", **payer))


def _told(made: Tenant) -> None:
    word, now = made.word, timezone.now()
    made.add(SlackSettings.objects.create(domain=made.domain, channel=f"#{word}"))
    url = f"https://{word}.example.org/fake"
    made.add(
        Webhook.objects.create(name=f"{word} hook", url=url, secret="fake-secret-of-16-or-more", domain=made.domain)
    )
    when = dict.fromkeys(("opened_at", "updated_at", "seen_at", "evaluated_at", "told_at"), now - 2.5 * DAY)
    about = {"rule": "error_rate", "object": word, "label": f"{word} fails", "sentence": f"{word} fails"}
    incident = made.add(Incident.objects.create(domain=made.domain, severity="warning", **about, **when))
    step = {"number": 1, "kind": "opened", "severity": "warning", "sentence": word, "at": now, "notice_id": new_id()}
    IncidentStep.objects.create(incident=incident, **step)
    ids = {"notice_id": new_id(), "position": new_id(), "give_up_at": now + DAY}
    made.add(
        Delivery.objects.create(kind="error", domain=made.domain, sink="slack", target_label=word, error=word, **ids)
    )


def _recorded(made: Tenant, **who: UUID) -> None:
    said = f'{{"said": "{made.word}"}}'.encode()
    facts = {"model": f"{made.word}-model", "session_id": f"{made.word}-session", "user_agent": made.word}
    one = stored_exchange(said, said, upstream_request_id=f"req_{made.word}", **facts, **who)
    made.add(ExchangeRow.objects.get(id=one.id))
    ExchangeRow.objects.filter(id=one.id).update(request_preview=f"{made.word} asks")
    batch = BatchRow.objects.create(id=f"msgbatch_{made.word}", created_at=timezone.now(), booked_id=one.id, **who)
    made.add(batch)
    numbers = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
    used = dict.fromkeys((*numbers, "web_search_requests"), 1) | {
        "charges": "[]",
        "pricing": "free",
        "booked_id": one.id,
    }
    BatchUsageRow.objects.create(id=new_id(), batch=batch, model=f"{made.word}-model", **used, **who)
    made.add(Adjustment.objects.create(run_id=new_id(), exchange_id=one.id, model=f"{made.word}-model"))


def person(group: str, *domains: Domain | None) -> User:
    user = User.objects.create_user(f"{group}-{len(domains)}", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    for domain in domains:
        Membership.objects.create(user=user, domain=domain)  # type: ignore[misc]
    return user


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def registered() -> list[tuple[type[Model], Any]]:
    """Every model that has pages in the admin, and its page."""
    return sorted(admin.site._registry.items(), key=lambda item: item[0]._meta.label)
