"""Announces a changed price like a change of the register: each process loads the prices anew within two seconds."""

from typing import Any

from django.db.models.signals import post_delete, post_save

from accounts.models import Installation
from telemetry.models import PriceRow


def connect() -> None:
    post_save.connect(_announce, sender=PriceRow)
    post_delete.connect(_announce, sender=PriceRow)


def _announce(**_: Any) -> None:
    Installation.announce_change()
