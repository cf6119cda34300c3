"""What a first user needs, made once: an account, a domain and a client key. Secrets are returned, never stored."""

import secrets
from dataclasses import dataclass, field

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.db.models import Q

from accounts.models import ClientKey, Domain

ADMIN_NAME = "admin"
FIRST_DOMAIN = "localhost"


@dataclass(frozen=True, slots=True)
class Made:
    """The secrets of what was made just now; empty for what existed before."""

    admin_password: str = field(default="", repr=False)
    client_key: str = field(default="", repr=False)


def ensure() -> Made:
    """Makes what is missing. Running it again changes nothing and returns no secret."""
    try:
        return _made()
    except IntegrityError:  # another node did at the same moment
        return _made()


def _made() -> Made:
    with transaction.atomic():
        return Made(admin_password=_ensure_admin(), client_key=_ensure_client_key())


def _ensure_admin() -> str:
    users = get_user_model()
    if users.objects.filter(Q(is_superuser=True) | Q(username=ADMIN_NAME)).exists():
        return ""
    password = secrets.token_urlsafe(12)
    users.objects.create_superuser(ADMIN_NAME, password=password)
    return password


def _ensure_client_key() -> str:
    if Domain.objects.exists():
        return ""
    domain = Domain.objects.create(host=FIRST_DOMAIN)
    return ClientKey.issue(domain, "first key")[1]
