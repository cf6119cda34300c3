"""The three groups: what each may do, and that it stays so."""

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command

from accounts import groups
from accounts.access import ALL_DOMAINS, EVERYTHING, VIEW_BODIES, Viewer, viewer_for
from accounts.models import Domain, Membership

pytestmark = pytest.mark.django_db


def rights(name: str) -> set[str]:
    found = Permission.objects.filter(group__name=name).values_list("content_type__app_label", "codename")
    return {f"{app_label}.{codename}" for app_label, codename in found}


def member(group: str, *domains: Domain) -> User:
    user = User.objects.create_user("ada", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    for domain in domains:
        Membership.objects.create(user=user, domain=domain)
    return User.objects.get(pk=user.pk)


def test_a_viewer_looks_and_sees_no_bodies() -> None:
    found = rights("viewer")
    assert {right.partition(".")[2].partition("_")[0] for right in found} == {"view"}
    assert {"accounts.view_domain", "telemetry.view_exchangerow", "telemetry.view_pricerow"} <= found
    assert found.isdisjoint({VIEW_BODIES, "accounts.view_credential", "telemetry.view_webhook", "auth.view_user"})


def test_an_operator_sets_up_what_a_domain_uses() -> None:
    found = rights("operator")
    assert rights("viewer") < found
    assert {"accounts.add_clientkey", "accounts.change_credential", "accounts.delete_budget"} <= found
    assert {"telemetry.add_webhook", "telemetry.change_incident", "telemetry.change_delivery"} <= found
    assert not [right for right in found if "price" in right and "view" not in right]
    assert found.isdisjoint({ALL_DOMAINS, VIEW_BODIES, "accounts.add_membership", "accounts.change_domain"})
    assert not [right for right in found if right.startswith("auth.")]


def test_an_admin_has_all_of_the_models(domain: Domain) -> None:
    found = rights("admin")
    assert {ALL_DOMAINS, VIEW_BODIES, "auth.add_user", "accounts.add_membership", "telemetry.change_pricerow"} <= found
    ours = [model for name in ("accounts", "telemetry") for model in apps.get_app_config(name).get_models()]
    assert not [model for model in ours if f"{model._meta.app_label}.change_{model._meta.model_name}" not in found]
    assert viewer_for(member("admin")) == EVERYTHING


@pytest.mark.parametrize("group", ["viewer", "operator"])
def test_the_others_see_the_domains_of_their_memberships(group: str, domain: Domain, other_domain: Domain) -> None:
    assert viewer_for(member(group, domain)) == Viewer(frozenset({domain.id}), may_see_bodies=False)


def test_all_domains_without_bodies(domain: Domain) -> None:
    user = member("viewer")
    user.user_permissions.add(Permission.objects.get(codename="all_domains"))
    assert viewer_for(User.objects.get(pk=user.pk)) == Viewer(None, may_see_bodies=False)


def test_what_was_taken_by_hand_stays_taken_and_what_is_new_is_given() -> None:
    taken, new = (Permission.objects.get(codename=name) for name in ("delete_budget", "view_incident"))
    Group.objects.get(name="operator").permissions.remove(taken)
    extra = Permission.objects.get(codename="view_target")
    Group.objects.get(name="viewer").permissions.add(extra)
    for group in Group.objects.all():  # as if a later version had brought it
        group.permissions.remove(new)
    call_command("migrate", verbosity=0)
    assert "accounts.delete_budget" not in rights("operator")
    assert "telemetry.view_target" in rights("viewer")
    assert all("telemetry.view_incident" in rights(name) for name in ("viewer", "operator", "admin"))


def test_they_come_with_an_empty_database() -> None:
    Group.objects.all().delete()
    for name in ("accounts", "telemetry", "auth"):
        groups.complete(sender=apps.get_app_config(name), using="default")
    assert {"viewer", "operator", "admin"} == {*Group.objects.values_list("name", flat=True)}
    assert VIEW_BODIES in rights("admin")
    assert "accounts.add_clientkey" in rights("operator")
