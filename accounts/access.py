"""Who may read the record, and how much of it. Two ways in: the dashboard's key, in a header or in exchange for a
session that does not hold it, and a session of a member of staff."""

import hmac
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from accounts.guard import address_of, is_exhausted
from accounts.models import PERSONAL_KEY_START, Membership, PersonalKey

KEY_HEADER = "X-Dashboard-Key"
KEY_SESSION = "dashboard_key"
"""What a session holds for the key that opened it: with another key in the settings it opens nothing any more."""
PERSONAL_SESSION = "personal_key"
"""The id of the personal key that opened it."""
KEY_SESSION_SECONDS = 7 * 24 * 3600
WRONG_KEYS = "30/m"
"""From one address."""
VIEW_BODIES = "telemetry.view_bodyrow"
ALL_DOMAINS = "accounts.all_domains"


class AccessRefused(Exception):
    status = 401


class TooManyTries(AccessRefused):
    status = 429


@dataclass(frozen=True, slots=True)
class Viewer:
    domain_ids: frozenset[UUID] | None
    """None: all domains, and what belongs to none."""
    may_see_bodies: bool
    """And headers and previews: all of what was said."""

    @property
    def sees_all(self) -> bool:
        return self.domain_ids is None

    @property
    def sees_any(self) -> bool:
        return self.domain_ids is None or bool(self.domain_ids)


EVERYTHING = Viewer(domain_ids=None, may_see_bodies=True)
NOTHING = Viewer(domain_ids=frozenset(), may_see_bodies=False)


def viewer_of(request: HttpRequest) -> Viewer:
    """Raises AccessRefused. A key that is presented has to be right, whatever session comes with it."""
    presented = request.headers.get(KEY_HEADER)
    if presented is not None:
        viewer, caller, _ = _by_key(request, presented)
    else:
        viewer, caller = _by_session(request)
    rate = settings.DASHBOARD_RATE
    if rate and is_exhausted(request, "dashboard", rate, caller, counts=True):
        raise TooManyTries(f"More requests than DASHBOARD_RATE allows ({rate}). Wait a minute, then try again.")
    return viewer


def may_scrape(request: HttpRequest) -> bool:
    """Whether a scraper shows METRICS_TOKEN as its bearer token. Neither database nor cache is asked: metrics matter
    most when those are away. The token is long enough that nobody guesses it (nexus.settings)."""
    scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
    expected: str = settings.METRICS_TOKEN
    return bool(expected) and scheme.lower() == "bearer" and _is_same(presented.strip(), expected)


def _is_same(presented: str, expected: str) -> bool:
    # Headers arrive as latin-1; a setting may hold any bytes that an environment can.
    return hmac.compare_digest(presented.encode("latin-1", "replace"), expected.encode("utf-8", "surrogateescape"))


def viewer_of_session(session_key: str | None) -> Viewer:
    """Of a socket, whose session may have ended since it was opened. Raises AccessRefused."""
    request = HttpRequest()
    request.session = SessionStore(session_key)
    request.user = get_user(request)
    return _by_session(request)[0]


def open_session(request: HttpRequest, presented: str) -> None:
    """For whoever has the dashboard's key or a personal one. Raises AccessRefused."""
    personal = _by_key(request, presented)[2]
    request.session.flush()
    request.session.set_expiry(KEY_SESSION_SECONDS)
    if personal is None:
        request.session[KEY_SESSION] = _mark(presented)
    else:
        request.session[PERSONAL_SESSION] = str(personal.pk)


def close_session(request: HttpRequest) -> None:
    request.session.flush()


def _mark(key: str) -> str:
    return salted_hmac("accounts.access.dashboard_key", key, algorithm="sha256").hexdigest()


def _by_key(request: HttpRequest, presented: str) -> tuple[Viewer, str, PersonalKey | None]:
    """And who counts as its caller, and whose key it is, if it is a person's."""
    address = address_of(request)
    if is_exhausted(request, "dashboard-key", WRONG_KEYS, address, counts=False):
        raise TooManyTries(f"Too many wrong keys in {KEY_HEADER} from this address. Wait a minute, then try again.")
    if presented.startswith(PERSONAL_KEY_START):
        return _by_personal_key(request, presented, address)
    expected: str = settings.DASHBOARD_API_KEY
    if not expected:
        raise AccessRefused(f"{KEY_HEADER} opens nothing here: DASHBOARD_API_KEY is not set. Sign in at /admin/.")
    if _is_same(presented, expected):
        return EVERYTHING, "the dashboard's key", None
    is_exhausted(request, "dashboard-key", WRONG_KEYS, address, counts=True)
    raise AccessRefused(f"The key in {KEY_HEADER} is not the one in DASHBOARD_API_KEY.")


def _by_personal_key(request: HttpRequest, presented: str, address: str) -> tuple[Viewer, str, PersonalKey | None]:
    key = PersonalKey.recognise(presented)
    if key is None:
        is_exhausted(request, "dashboard-key", WRONG_KEYS, address, counts=True)
        raise AccessRefused(
            f"The personal key in {KEY_HEADER} is not known here: it is revoked, or its owner has left."
        )
    key.note_use()
    return viewer_for(key.user), f"user {key.user.pk}", key


def _by_session(request: HttpRequest) -> tuple[Viewer, str]:
    user = request.user
    if isinstance(user, User) and user.is_active and user.is_staff:
        return viewer_for(user), f"user {user.pk}"
    mark, key = request.session.get(KEY_SESSION), settings.DASHBOARD_API_KEY
    if mark and key and hmac.compare_digest(str(mark), _mark(key)):
        return EVERYTHING, f"session {request.session.session_key}"
    personal = request.session.get(PERSONAL_SESSION)
    if personal and (own := PersonalKey.still_good(personal)):
        return viewer_for(own.user), f"user {own.user.pk}"
    raise AccessRefused(_who(user))


def viewer_for(user: AbstractBaseUser | AnonymousUser) -> Viewer:
    """What a person may see who has come in: the domains of the memberships, or all of them."""
    if not (isinstance(user, User) and user.is_active and user.is_staff):
        return NOTHING
    may_see_bodies = user.has_perm(VIEW_BODIES)
    if user.has_perm(ALL_DOMAINS):  # as superusers have every permission
        return Viewer(domain_ids=None, may_see_bodies=may_see_bodies)
    domain_ids = Membership.objects.filter(user=user).values_list("domain_id", flat=True)
    return Viewer(frozenset(domain_ids), may_see_bodies)


def _who(user: AbstractBaseUser | AnonymousUser) -> str:
    if user.is_authenticated:
        return "This account may not read the record: that takes an active member of staff."
    return f"Send the dashboard's key as {KEY_HEADER}, or sign in at /admin/."
