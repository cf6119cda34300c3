import html
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from accounts.models import Domain, Membership
from accounts.register import load

DOMAINS = "/admin/accounts/domain/"
MEMBERS = {f"memberships-{name}": 0 for name in ("TOTAL_FORMS", "INITIAL_FORMS", "MIN_NUM_FORMS", "MAX_NUM_FORMS")}


def form(**changes: Any) -> dict[str, Any]:
    fields = {"host": "claude.example.com", "is_active": "on", "storage": "redacted", "reaches_slack": "unknown"}
    fields |= {"unpriced_models": "assume", "max_wait_seconds": "0"}
    return fields | MEMBERS | {"memberships-MAX_NUM_FORMS": 1000} | changes


def test_a_domain_is_made_with_what_is_kept_of_it(admin_client: Client, db: None) -> None:
    asked = form(redaction_patterns="EMP-\\d+\r\n\r\n(?i)nightingale", retain_bodies_days="7", retain_rows_days="0")
    assert admin_client.post(f"{DOMAINS}add/", asked).status_code == 302
    domain = Domain.objects.get()
    assert (domain.retain_bodies_days, domain.retain_rows_days, domain.reaches_slack) == (7, 0, None)
    facts = load().domains["claude.example.com"]
    assert facts.storage == "redacted"
    assert facts.redaction_patterns == ("EMP-\\d+", "(?i)nightingale")


def test_bad_patterns_are_told_in_the_form(admin_client: Client, db: None) -> None:
    page = html.unescape(
        admin_client.post(f"{DOMAINS}add/", form(redaction_patterns="(\r\nfine\r\na*")).content.decode()
    )
    assert "Pattern 1, “(”, is not a regular expression: missing ) at position 1." in page
    assert "Pattern 3, “a*”, matches nothing at all, and so would match everywhere." in page
    assert not Domain.objects.exists()


@pytest.mark.parametrize("days", ["-1", "soon", "1.5"])
def test_days_are_whole_numbers(admin_client: Client, db: None, days: str) -> None:
    assert "errorlist" in admin_client.post(f"{DOMAINS}add/", form(retain_bodies_days=days)).content.decode()
    assert not Domain.objects.exists()


def test_the_form_groups_what_belongs_together(admin_client: Client, domain: Domain) -> None:
    page = admin_client.get(f"{DOMAINS}{domain.id}/change/").content.decode()
    for title in ("What is kept", "Slack", "Models and waiting"):
        assert title in page
    names = ("host", "retain_rows_days", "reaches_slack", "memberships-TOTAL_FORMS")
    page = page[page.index("domain_form") :]
    places = [page.index(f'name="{name}') for name in names]
    assert places == sorted(places)


def test_the_list_says_what_is_kept(admin_client: Client, domain: Domain, other_domain: Domain) -> None:
    Domain.objects.filter(id=domain.id).update(retain_bodies_days=30, retain_rows_days=0)
    Domain.objects.filter(id=other_domain.id).update(storage="metadata", reaches_slack=False)
    page = admin_client.get(DOMAINS).content.decode()
    for shown in ("30 days", "for ever", "not at all", "by default", "close_small"):
        assert shown in page


def test_people_are_made_members_beside_the_domain(
    admin_client: Client, domain: Domain, django_user_model: type[User]
) -> None:
    ada = django_user_model.objects.create_user("ada")
    member = {"memberships-TOTAL_FORMS": 1, "memberships-0-user": ada.pk, "memberships-0-domain": str(domain.id)}
    answer = admin_client.post(f"{DOMAINS}{domain.id}/change/", form(**member))
    assert answer.status_code == 302
    assert Membership.objects.get().user == ada
    first = {"memberships-0-id": Membership.objects.get().pk, "memberships-INITIAL_FORMS": 1}
    second = {"memberships-1-user": ada.pk, "memberships-1-domain": str(domain.id), "memberships-TOTAL_FORMS": 2}
    twice = form(**member | first | second)
    assert "duplicate" in admin_client.post(f"{DOMAINS}{domain.id}/change/", twice).content.decode()


def test_a_user_is_found_by_typing(admin_client: Client, domain: Domain, django_user_model: type[User]) -> None:
    django_user_model.objects.create_user("ada")
    asked = {"app_label": "accounts", "model_name": "membership", "field_name": "user", "term": "ad"}
    results = admin_client.get("/admin/autocomplete/", asked).json()["results"]
    assert "ada" in [each["text"] for each in results]
