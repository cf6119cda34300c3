"""Signing in to the dashboard: with the dashboard's key here, with an account where the admin does it."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import AccessRefused, close_session, open_session
from accounts.guard import RETRY_SECONDS
from accounts.models import PERSONAL_KEY_START

KEY_MAX_LENGTH = 1000


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def login(request: HttpRequest) -> HttpResponse:
    after = _place(request, request.POST.get("next") or request.GET.get("next", ""))
    sentence, status = "", 200
    if request.method == "POST":
        presented = request.POST.get("key", "")[:KEY_MAX_LENGTH]
        try:
            open_session(request, presented)
            return redirect(after)
        except AccessRefused as refused:
            sentence, status = _told(refused, presented), refused.status
    context = {"next": after, "sentence": sentence, "takes_keys": bool(settings.DASHBOARD_API_KEY)}
    response = render(request, "dashboard/login.html", context, status=status)
    if status == 429:
        response["Retry-After"] = str(RETRY_SECONDS)
    return response


@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    close_session(request)
    return redirect("dashboard:login")


def _told(refused: AccessRefused, presented: str) -> str:
    if refused.status == 429:
        return "Too many wrong keys from this address. Wait a minute, then try again."
    if presented.startswith(PERSONAL_KEY_START):
        return "This personal key is not known here: it is revoked, or its owner has left."
    if not settings.DASHBOARD_API_KEY:
        return "No key opens this dashboard: DASHBOARD_API_KEY is not set. Sign in with an account."
    return "This key is not the one in DASHBOARD_API_KEY."


def _place(request: HttpRequest, wanted: str) -> str:
    """Only on this host."""
    is_ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if is_ours else reverse("dashboard:overview")
