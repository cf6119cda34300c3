"""Signing in from the admin: away to the place where people agree, and back with a code."""

import time
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.views.decorators.http import require_GET, require_POST

from accounts.models import Credential, OAuthToken
from accounts.oauth import login
from accounts.oauth.login import Begun, CannotSignIn

SESSION = "oauth-sign-ins"
AT_ONCE_MAX = 5
"""Sign-ins that one person has begun and not ended."""
CALLBACK = "accounts_credential_signed_in"


class SignsIn:
    """For the admin of credentials."""

    admin_site: Any
    message_user: Any
    has_change_permission: Any
    log_change: Any
    get_queryset: Any
    sign_in_fields: ClassVar[tuple[str, ...]] = ("sign_in",)

    def sign_in_urls(self) -> list[URLPattern]:
        """To go before the admin's own."""
        wrap = self.admin_site.admin_view
        return [
            path("<uuid:pk>/sign-in/", wrap(require_POST(self._begin)), name="accounts_credential_sign_in"),
            path("signed-in/callback/", wrap(require_GET(self._come_back)), name=CALLBACK),
        ]

    @admin.display(description="Sign in")
    def sign_in(self, row: Credential) -> str:
        if row.kind != Credential.Kind.OAUTH:
            return "—"
        token = OAuthToken.objects.filter(credential=row).first()
        word = "Sign in" if token is None or token.needs_login else "Sign in again"
        button = '<button class="button" formaction="{}" formmethod="post" formnovalidate>{}</button> {}'
        url = reverse("admin:accounts_credential_sign_in", args=[row.pk])
        return format_html(button, url, word, _said(token))

    def _begin(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        row = get_object_or_404(self.get_queryset(request), pk=pk, kind=Credential.Kind.OAUTH)
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        try:
            begun = login.begin(settings.OAUTH, _redirect_url(request))
        except CannotSignIn as error:
            return self._told(request, row, messages.ERROR, str(error))
        waiting = {**request.session.get(SESSION, {})}
        waiting[begun.state] = {"credential": str(row.pk), "verifier": begun.verifier, "at": time.time()}
        newest = sorted(waiting, key=lambda state: waiting[state]["at"])[-AT_ONCE_MAX:]
        request.session[SESSION] = {state: waiting[state] for state in newest}
        return redirect(begun.url)

    def _come_back(self, request: HttpRequest) -> HttpResponse:
        """What was begun is good once, for the person who began it: it is in their session."""
        waiting = {**request.session.get(SESSION, {})}
        begun = waiting.pop(request.GET.get("state", ""), None)
        request.session[SESSION] = waiting
        if begun is None or begun["at"] < time.time() - login.SECONDS:
            self.message_user(request, "This sign-in was not begun here, or too long ago. Begin again.", messages.ERROR)
            return redirect("admin:accounts_credential_changelist")
        row = get_object_or_404(self.get_queryset(request), pk=begun["credential"])
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        state = request.GET["state"]
        try:
            code = login.code_of(request.META.get("QUERY_STRING", ""), state)
            login.finish(settings.OAUTH, row, code, Begun("", state, begun["verifier"]), _redirect_url(request))
        except CannotSignIn as error:
            return self._told(request, row, messages.ERROR, str(error))
        self.log_change(request, row, "Signed in.")
        return self._told(request, row, messages.SUCCESS, "Signed in. Nexus renews the token by itself from now on.")

    def _told(self, request: HttpRequest, row: Credential, level: int, text: str) -> HttpResponse:
        self.message_user(request, text, level)
        return redirect("admin:accounts_credential_change", row.pk)


def _redirect_url(request: HttpRequest) -> str:
    return settings.OAUTH.redirect_url or request.build_absolute_uri(reverse(f"admin:{CALLBACK}"))


def _said(token: OAuthToken | None) -> str:
    if token is None or not (token.access_token or token.refresh_token):
        return "Nobody has signed in yet."
    if token.needs_login:
        return token.failure or "The refresh token is not good any more."
    until = f"{token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else "an unknown time"
    failed = f" The last renewal failed: {token.failure}" if token.failure else ""
    return f"{token.masked} is good until {until}.{failed}"
