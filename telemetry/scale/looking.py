"""Looks at pages as people do, signed in, and says how long it took and what the database did for it."""

import statistics
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.test import Client

from accounts.ids import new_id
from accounts.models import Membership
from telemetry.scale.pages import Page
from telemetry.scale.plans import Plan, statements

SECONDS_FOR_A_PAGE = 20
LEAST_RUNS = 5


class NotShown(Exception):
    """A page answered with something else than 200."""


@dataclass(frozen=True, slots=True)
class Look:
    page: Page
    milliseconds: list[float]
    plans: list[Plan]

    @property
    def p50(self) -> float:
        return statistics.median(self.milliseconds)

    @property
    def p95(self) -> float:
        return statistics.quantiles(self.milliseconds, n=20)[-1]

    def sequential_scans(self) -> set[str]:
        return {table for plan in self.plans for table in plan.sequential_scans()}

    def rows_read(self) -> int:
        return sum(plan.rows_read() for plan in self.plans)

    def blocks_read(self) -> int:
        return sum(plan.blocks_read() for plan in self.plans)

    def database_ms(self) -> float:
        return sum(plan.milliseconds for plan in self.plans)


class Visitors:
    """A superuser, and a member of some domains who may see bodies."""

    def __init__(self, owner: Client, member: Client) -> None:
        self._owner, self._member = owner, member

    def visit(self, page: Page) -> int:
        """The length of the answer. Raises NotShown."""
        client = self._member if page.by_member else self._owner
        response = client.get(page.url)
        if response.status_code != 200:
            raise NotShown(f"{page.url}: {response.status_code}")
        if not response.streaming:
            return len(response.content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the file is streamed for ASGI; here nobody minds to have it at once
            return sum(map(len, response))

    def look(self, page: Page, runs: int) -> Look:
        with statements() as seen:
            self.visit(page)
        times: list[float] = []
        deadline = perf_counter() + SECONDS_FOR_A_PAGE
        while len(times) < runs and (len(times) < LEAST_RUNS or perf_counter() < deadline):
            began = perf_counter()
            self.visit(page)
            times.append((perf_counter() - began) * 1000)
        return Look(page, times, [statement.plan() for statement in seen])


@contextmanager
def visitors(domain_ids: list[UUID]) -> Iterator[Visitors]:
    """Two users without a password, who are gone afterwards."""
    name = f"visitor-{new_id()}"
    owner = User.objects.create(username=name, is_staff=True, is_superuser=True)
    member = User.objects.create(username=f"{name}-member", is_staff=True)
    member.user_permissions.add(Permission.objects.get(content_type__app_label="telemetry", codename="view_bodyrow"))
    for domain_id in domain_ids:
        Membership.objects.create(user=member, domain_id=domain_id)
    clients = _signed_in(owner), _signed_in(member)
    try:
        yield Visitors(*clients)
    finally:
        for client in clients:
            client.logout()
        User.objects.filter(username__startswith=name).delete()


def _signed_in(user: User) -> Client:
    host = next((host for host in settings.ALLOWED_HOSTS if not host.startswith((".", "*"))), "localhost")
    client = Client(headers={"host": host})
    client.force_login(user)
    return client
