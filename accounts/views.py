"""Signing in. Guessing is limited by address, and by the name that is tried from whatever addresses."""

from django.contrib import admin
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse

from accounts.guard import RETRY_SECONDS, address_of, is_exhausted

TRIES_PER_ADDRESS = "10/m"
TRIES_PER_NAME = "30/m"
"""Wrong passwords: a stranger who tries many from many addresses shuts its owner out for no longer than a minute."""
NAME_LENGTH = 150


def login(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return admin.site.login(request)
    name = request.POST.get("username", "")[:NAME_LENGTH].lower()
    if is_exhausted(request, "login", TRIES_PER_ADDRESS, address_of(request), counts=True) or is_exhausted(
        request, "login-name", TRIES_PER_NAME, name, counts=False
    ):
        text = "Too many tries to sign in. Wait a minute, then try again."
        headers = {"Retry-After": str(RETRY_SECONDS)}
        return HttpResponse(text, status=429, content_type="text/plain", headers=headers)
    response = admin.site.login(request)
    if isinstance(request.user, AnonymousUser):
        is_exhausted(request, "login-name", TRIES_PER_NAME, name, counts=True)
    return response
