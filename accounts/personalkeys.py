"""/dashboard/personal-keys: a person's own keys for scripts: made, shown once, revoked."""

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.models import PersonalKey

NAME_MAX_LENGTH = 100
KEYS_MAX = 10
"""Of a person, that are good."""


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def personal_keys(request: HttpRequest) -> HttpResponse:
    """Only with an account: a key makes no keys."""
    user = request.user
    if not (isinstance(user, User) and user.is_active and user.is_staff):
        return redirect(f"/admin/login/?next={request.path}")
    if request.method != "POST":
        return _shown(request, user)
    if "revoke" in request.POST:
        return _revoke(request, user, request.POST["revoke"])
    name = request.POST.get("name", "").strip()[:NAME_MAX_LENGTH]
    if not name or "\0" in name:
        return _shown(request, user, sentence="Give the key a name: what will use it?", status=400)
    if PersonalKey.objects.filter(user=user, revoked_at=None).count() >= KEYS_MAX:
        return _shown(request, user, sentence=f"You have {KEYS_MAX} keys. Revoke one that nothing uses.", status=400)
    key, secret = PersonalKey.issue(user, name)
    return _shown(request, user, key=key, secret=secret)


def _revoke(request: HttpRequest, user: User, row_id: str) -> HttpResponse:
    # By its text: what is no id is nobody's.
    key = next((each for each in PersonalKey.objects.filter(user=user) if str(each.pk) == row_id), None)
    if key is None:
        return _shown(request, user, sentence="There is no such key of yours.", status=404)
    key.revoke()
    return redirect(request.path)


def _shown(
    request: HttpRequest,
    user: User,
    *,
    sentence: str = "",
    status: int = 200,
    key: PersonalKey | None = None,
    secret: str = "",
) -> HttpResponse:
    keys = PersonalKey.objects.filter(user=user, revoked_at=None)
    context = {"keys": keys, "sentence": sentence, "key": key, "secret": secret}
    return render(request, "accounts/personal_keys.html", context, status=status)
