"""What is kept in the admin, a file for each room."""

from accounts.models.limits import Budget, RateLimit
from accounts.models.register import (
    ClientKey,
    Credential,
    Domain,
    Installation,
    Membership,
    RegisterQuerySet,
    touch_last_used,
)

__all__ = [
    "Budget",
    "ClientKey",
    "Credential",
    "Domain",
    "Installation",
    "Membership",
    "RateLimit",
    "RegisterQuerySet",
    "touch_last_used",
]
