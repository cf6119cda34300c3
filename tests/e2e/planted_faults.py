"""Faults for a served Nexus, whose exceptions hold what the variable PLANTED holds: in the relay, for a caller whose
own key ends in `faulty`; in a page of the console; and in a task that this page starts."""

import os
from typing import Any

from celery import shared_task
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from proxy.vault import Vault

PLANTED = os.environ["PLANTED"]


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator] # Celery has no types
def fail(argument: str) -> None:
    raise ValueError(f"the task failed over {argument}")


def page(request: HttpRequest) -> HttpResponse:
    fail.delay(PLANTED)
    raise RuntimeError(f"the page failed over {PLANTED}")


def pool(self: Vault, snapshot: Any, key: Any, own_headers: Any) -> Any:
    if any(value.endswith(b"faulty") for _, value in own_headers):
        raise KeyError(PLANTED, own_headers)
    return whole(self, snapshot, key, own_headers)


whole = Vault.pool
Vault.pool = pool  # type: ignore[method-assign] # this is the planting
urlpatterns = [path("page/", page), path("", include("nexus.urls"))]
