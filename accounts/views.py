"""Signing in. Guessing is limited by address."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django_ratelimit.decorators import ratelimit

TRIES_PER_MINUTE = 10


@ratelimit(key="ip", rate=f"{TRIES_PER_MINUTE}/m", method="POST", block=False)  # type: ignore[untyped-decorator] # it has no types
def login(request: HttpRequest) -> HttpResponse:
    if getattr(request, "limited", False):
        text = "Too many tries to sign in from this address. Wait a minute, then try again."
        return HttpResponse(text, status=429, content_type="text/plain", headers={"Retry-After": "60"})
    return admin.site.login(request)
