"""The three groups that Nexus comes with, and what each may do. Which domains they do it in, memberships say."""

from collections.abc import Iterator
from typing import Any

from django.apps import AppConfig
from django.apps import apps as installed
from django.db.models import Q
from django.db.models.signals import post_migrate

VIEWER, OPERATOR, ADMIN = "viewer", "operator", "admin"
LOOKED_AT = (
    *("accounts.domain", "accounts.clientkey", "accounts.ratelimit", "accounts.budget"),
    *("telemetry.exchangerow", "telemetry.batchrow", "telemetry.batchusagerow", "telemetry.pricerow"),
    *("telemetry.incident", "telemetry.incidentstep", "telemetry.delivery"),
)
KEPT = (
    *("accounts.clientkey", "accounts.ratelimit", "accounts.budget", "accounts.credential"),
    *("telemetry.slacksettings", "telemetry.webhook"),
)
"""What an operator sets up."""
ACTED_ON = ("telemetry.incident", "telemetry.delivery")
"""Rows that a machine writes, and of which an operator says what is to become of them."""
ACTIONS = ("view", "add", "change", "delete")
NOT_GIVEN = ("admin", "contenttypes", "sessions")
"""Apps of Django's with whose rows nobody works."""


def connect() -> None:
    """After Django's own receiver, which makes the permissions."""
    post_migrate.connect(complete, dispatch_uid="accounts.groups")


def complete(sender: AppConfig, using: str, apps: Any = installed, **_: Any) -> None:
    """Gives the groups what is new: the permissions that the admins do not have yet, for they have all. So what was
    taken from the other groups by hand stays so, and what a later version adds is given."""
    try:
        permissions, groups = (apps.get_model("auth", name).objects.using(using) for name in ("Permission", "Group"))
    except LookupError:  # an empty database of which a part is made
        return
    new = permissions.filter(content_type__app_label=sender.label).exclude(group__name=ADMIN)
    new = new.exclude(content_type__app_label__in=NOT_GIVEN)
    wanted = {VIEWER: _any_of(_looking()), OPERATOR: _any_of(_operating()), ADMIN: Q()}
    given = {name: list(new.filter(condition)) for name, condition in wanted.items()}
    for name, found in given.items():
        if found:
            groups.get_or_create(name=name)[0].permissions.add(*found)


def _looking() -> Iterator[tuple[str, str]]:
    return ((model, "view") for model in LOOKED_AT)


def _operating() -> Iterator[tuple[str, str]]:
    yield from _looking()
    yield from ((model, action) for model in KEPT for action in ACTIONS)
    yield from ((model, "change") for model in ACTED_ON)


def _any_of(rights: Iterator[tuple[str, str]]) -> Q:
    found = Q()
    for model, action in rights:
        app_label, _, name = model.partition(".")
        found |= Q(content_type__app_label=app_label, codename=f"{action}_{name}")
    return found
