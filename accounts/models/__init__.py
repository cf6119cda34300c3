"""What is kept in the admin, a file for each room."""

from accounts.models.credentials import Credential, CredentialStanding, OAuthToken
from accounts.models.limits import Budget, RateLimit
from accounts.models.personal import PERSONAL_KEY_START, PersonalKey
from accounts.models.register import (
    ClientKey,
    Domain,
    Installation,
    Membership,
    RegisterQuerySet,
    touch_last_used,
)

__all__ = [
    "PERSONAL_KEY_START",
    "Budget",
    "ClientKey",
    "Credential",
    "CredentialStanding",
    "Domain",
    "Installation",
    "Membership",
    "OAuthToken",
    "PersonalKey",
    "RateLimit",
    "RegisterQuerySet",
    "touch_last_used",
]
