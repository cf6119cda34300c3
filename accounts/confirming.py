"""A page between an action on client keys and its consequences: it names the keys and how much they are used."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from accounts.ids import first_id_at
from accounts.models import ClientKey

COUNTED_MAX = 10_000
LATELY = timedelta(days=1)


def asked_before(
    request: HttpRequest,
    keys: Sequence[ClientKey],
    context: dict[str, Any],
    *,
    question: str,
    consequence: str,
    yes: str,
) -> HttpResponse | None:
    """The page that asks; None where it has been answered."""
    if request.POST.get("confirmed") == "yes":
        return None
    words = {"question": question, "consequence": consequence, "yes": yes, "title": question}
    used = [(key, _used(key)) for key in keys]
    context |= words | {"keys": used, "action": request.POST.get("action", "")}
    return render(request, "accounts/confirm.html", context)


def _used(key: ClientKey) -> str:
    recent = key.exchanges.filter(id__gte=first_id_at(timezone.now() - LATELY))
    count = recent.order_by()[:COUNTED_MAX].count()
    return f"more than {COUNTED_MAX:,}" if count == COUNTED_MAX else f"{count:,}"
