"""The register in the admin. Secrets go in and never come out: a client key is shown once, when it is issued."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from accounts.access import Viewer
from accounts.confirming import asked_before
from accounts.console import ModelAdmin, TabularInline
from accounts.issued import show_once
from accounts.models import ClientKey, Credential, Domain, Membership
from accounts.oauth.adminviews import SignsIn
from accounts.people import PersonAdmin, TeamAdmin  # noqa: F401 (registers them)
from accounts.privacy import Storage
from accounts.scoping import viewer_in
from accounts.secret import validate_upstream_secret

admin.site.site_header = admin.site.site_title = "Nexus"
admin.site.index_title = "Configuration and record"
SHARED = "It belongs to another domain, which lets yours use it."
ROTATED_MAX = 10
"""Client keys at once: somebody has to copy each."""


class MembershipInline(TabularInline):
    model = Membership
    verbose_name = "member"
    verbose_name_plural = "members, who may look at this domain's record; superusers may look at all"
    autocomplete_fields = ("user",)
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_add_permission(request, obj) and viewer_in(request).sees_all

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and viewer_in(request).sees_all

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and viewer_in(request).sees_all


@admin.register(Domain)
class DomainAdmin(ModelAdmin):
    ways_to_domain = ("id",)
    list_display = (
        "host",
        "is_active",
        "storage",
        "bodies_kept",
        "rows_kept",
        "slack",
        "allow_passthrough",
        "created_at",
    )
    list_filter = ("is_active", "storage")
    search_fields = ("host",)
    inlines = (MembershipInline,)
    fieldsets = (
        (None, {"fields": ("host", "is_active", "allow_passthrough")}),
        (
            "Models and waiting",
            {
                "fields": ("allowed_models", "unpriced_models", "max_wait_seconds"),
                "description": "A client key may have narrower rules of its own. How much may be used is set under "
                "Rate limits and Budgets.",
            },
        ),
        (
            "What is kept",
            {
                "fields": ("storage", "redaction_patterns", "retain_bodies_days", "retain_rows_days"),
                "description": "A change counts for what is stored from now on. What is stored already stays as it "
                "is, until its days are over.",
            },
        ),
        ("Slack", {"fields": ("reaches_slack",)}),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and viewer_in(request).sees_all

    def has_delete_permission(self, request: HttpRequest, obj: Domain | None = None) -> bool:
        return super().has_delete_permission(request, obj) and viewer_in(request).sees_all

    def get_readonly_fields(self, request: HttpRequest, obj: Domain | None = None) -> tuple[str, ...]:
        # That a name is taken already would tell of other people's domains.
        found = tuple(super().get_readonly_fields(request, obj))
        return found if viewer_in(request).sees_all else ("host", *found)

    @admin.display(description="Bodies kept", ordering="retain_bodies_days")
    def bodies_kept(self, domain: Domain) -> str:
        return _days(domain.retain_bodies_days) if Storage(domain.storage).keeps_bodies else "not at all"

    @admin.display(description="Exchanges kept", ordering="retain_rows_days")
    def rows_kept(self, domain: Domain) -> str:
        return _days(domain.retain_rows_days)

    @admin.display(description="Reaches Slack", boolean=True, ordering="reaches_slack")
    def slack(self, domain: Domain) -> bool:
        return domain.may_reach_slack


def _days(days: int | None) -> str:
    if days is None:
        return "by default"
    return f"{days} days" if days else "for ever"


@admin.register(ClientKey)
class ClientKeyAdmin(ModelAdmin):
    ways_to_domain = ("domain_id",)
    list_display = ("name", "domain", "masked", "state", "old_secret", "expires_at", "last_used_at", "created_at")
    list_filter = ("domain",)
    list_select_related = ("domain",)
    search_fields = ("name", "prefix", "last4")
    readonly_fields = ("masked", "state", "old_secret", "created_at", "revoked_at", "last_used_at")
    autocomplete_fields = ("domain",)
    actions = ("rotate_within_a_day", "rotate_within_a_week", "rotate_at_once", "end_old_secret", "revoke")

    def get_fieldsets(self, request: HttpRequest, obj: ClientKey | None = None) -> Any:
        found = [
            (None, {"fields": ("domain", "name", "expires_at")}),
            ("Models", {"fields": ("allowed_models", "unpriced_models")}),
            ("Waiting where a limit is reached", {"fields": ("max_wait_seconds", "weight", "is_background")}),
        ]
        return found if obj is None else [*found, ("What is known of it", {"fields": self.readonly_fields})]

    def get_readonly_fields(self, request: HttpRequest, obj: ClientKey | None = None) -> tuple[str, ...]:
        # Moving a key to another domain would move what it may spend.
        return self.readonly_fields if obj is None else ("domain", *self.readonly_fields)

    @admin.display(description="State")
    def state(self, key: ClientKey) -> str:
        return key.state

    @admin.display(description="Old secret")
    def old_secret(self, key: ClientKey) -> str:
        if not key.has_previous or key.previous_until is None:
            return "—"
        used = f"last used {key.previous_used_at:%Y-%m-%d %H:%M}" if key.previous_used_at else "not used since"
        return f"…{key.previous_last4} good until {key.previous_until:%Y-%m-%d %H:%M}, {used} (UTC)"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.secret_shown_once = obj.assign_secret()
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return self._show_once(request, [(obj, obj.secret_shown_once)])

    def _show_once(self, request: HttpRequest, issued: Sequence[tuple[ClientKey, str]]) -> HttpResponse:
        back = reverse("admin:accounts_clientkey_changelist")
        return show_once(request, issued, self.admin_site.each_context(request), back)

    @admin.action(description="Give a new secret; the old one stays good for a day", permissions=["change"])
    def rotate_within_a_day(self, request: HttpRequest, keys: "QuerySet[ClientKey]") -> HttpResponse | None:
        return self._rotate(request, keys, timedelta(days=1), "The old secret stays good for a day.")

    @admin.action(description="Give a new secret; the old one stays good for a week", permissions=["change"])
    def rotate_within_a_week(self, request: HttpRequest, keys: "QuerySet[ClientKey]") -> HttpResponse | None:
        return self._rotate(request, keys, timedelta(days=7), "The old secret stays good for a week.")

    @admin.action(description="Give a new secret; the old one is refused at once", permissions=["change"])
    def rotate_at_once(self, request: HttpRequest, keys: "QuerySet[ClientKey]") -> HttpResponse | None:
        return self._rotate(request, keys, timedelta(0), "Programs with the old secret are refused within two seconds.")

    def _rotate(
        self, request: HttpRequest, keys: "QuerySet[ClientKey]", grace: timedelta, consequence: str
    ) -> HttpResponse | None:
        if len(keys) > ROTATED_MAX:
            self.message_user(request, f"At most {ROTATED_MAX} keys at once: you have to copy each.", messages.ERROR)
            return None
        question = f"Give {_counted(keys)} a new secret?"
        if asked := self._asked(request, keys, question, consequence, "Yes, give a new secret"):
            return asked
        issued = []
        for key in keys:
            if key.state == "revoked":
                self.message_user(request, f"{key} is revoked: issue a new one.", messages.ERROR)
            else:
                issued.append((key, key.rotate(grace)))
                self.log_change(request, key, "Gave it a new secret.")
        return self._show_once(request, issued) if issued else None

    @admin.action(description="Refuse the old secret from now on", permissions=["change"])
    def end_old_secret(self, request: HttpRequest, keys: "QuerySet[ClientKey]") -> HttpResponse | None:
        consequence = "Programs that still use the old secret are refused within two seconds."
        if asked := self._asked(request, keys, f"End the old secret of {_counted(keys)}?", consequence, "Yes, end it"):
            return asked
        for key in keys:
            key.end_previous()
            self.log_change(request, key, "Ended its old secret.")
        self.message_user(request, "Every node refuses the old secrets within two seconds.")
        return None

    @admin.action(description="Revoke the selected client keys", permissions=["change"])
    def revoke(self, request: HttpRequest, keys: "QuerySet[ClientKey]") -> HttpResponse | None:
        consequence = "Their programs are refused within two seconds, for good. What they did stays on record."
        if asked := self._asked(request, keys, f"Revoke {_counted(keys)}?", consequence, "Yes, revoke"):
            return asked
        for key in keys:
            key.revoke()
            self.log_change(request, key, "Revoked it.")
        self.message_user(request, f"{len(keys)} client keys are revoked: every node refuses them within two seconds.")
        return None

    def _asked(
        self, request: HttpRequest, keys: "QuerySet[ClientKey]", question: str, consequence: str, yes: str
    ) -> HttpResponse | None:
        context = self.admin_site.each_context(request)
        return asked_before(request, list(keys), context, question=question, consequence=consequence, yes=yes)


def _counted(keys: "QuerySet[ClientKey]") -> str:
    return f"{len(keys)} client keys" if len(keys) != 1 else f"the client key “{keys[0].name}”"


class CredentialForm(forms.ModelForm):
    """The secret is written, never read: an empty field keeps the stored one."""

    secret = forms.CharField(
        required=False,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "size": 60}),
        help_text="The key or token that Anthropic issued. It is stored encrypted and not shown again.",
    )

    class Meta:
        model = Credential
        fields = (
            *("domain", "shared_with", "name", "owner", "kind", "secret", "expires_at"),
            *("federation_rule_id", "organization_id", "service_account_id", "workspace_id", "assertion_file"),
            *("priority", "weight", "is_standby", "allowed_models", "replaces", "traffic_percent", "is_active"),
        )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "traffic_percent" in self.fields:
            # It may be taken back while the form is open: what counts is what was changed in the form.
            self.fields["traffic_percent"].show_hidden_initial = True
        if "replaces" in self.fields and not self.instance._state.adding:
            same = Credential.objects.filter(domain_id=self.instance.domain_id)
            self.fields["replaces"].queryset = same.exclude(id=self.instance.id)  # type: ignore[attr-defined]

    def clean_secret(self) -> str:
        secret: str = self.cleaned_data["secret"]
        if secret:
            validate_upstream_secret(secret)
        return secret

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not cleaned.get("secret"):
            cleaned.pop("secret", None)  # what is not there is not written to the row
        return cleaned


@admin.register(Credential)
class CredentialAdmin(SignsIn, ModelAdmin):
    ways_to_domain = ("domain_id",)
    form = CredentialForm
    list_display: tuple[str, ...] = ("name", "domain", "kind", "masked", "owner", "priority", "is_active")
    list_filter: ClassVar[tuple[str, ...]] = ("domain", "is_active")
    list_select_related: ClassVar[tuple[str, ...]] = ("domain",)
    search_fields = ("name", "owner", "fingerprint")
    readonly_fields = ("masked", "fingerprint", "created_at", *SignsIn.sign_in_fields)
    autocomplete_fields = ("domain", "shared_with")
    fieldsets = (
        (None, {"fields": ("name", "owner", "domain", "shared_with", "kind", "is_active")}),
        (
            "The key or token",
            {"classes": ("kind-only", "kind-api_key", "kind-bearer"), "fields": ("secret", "expires_at")},
        ),
        (
            "Workload identity federation",
            {
                "classes": ("kind-only", "kind-federation"),
                "fields": (
                    *("federation_rule_id", "organization_id"),
                    *("service_account_id", "workspace_id"),
                    "assertion_file",
                ),
                "description": "The ids are those of the Claude Console.",
            },
        ),
        (
            "Its place among the domain's credentials",
            {"fields": ("priority", "weight", "is_standby", "allowed_models")},
        ),
        (
            "It replaces another one, step by step",
            {"classes": ("collapse",), "fields": ("replaces", "traffic_percent")},
        ),
    )
    """With the class `kind-only` a part is shown for the kinds that its other classes name; without a script, for all
    (telemetry/credentials.js)."""

    def get_fieldsets(self, request: HttpRequest, obj: Credential | None = None) -> Any:
        found = [*self.fieldsets]
        if obj is None:
            return found
        if not self.owns(request, obj):
            return [(None, {"fields": ("name", "kind", "is_active"), "description": SHARED})]
        if not self.has_change_permission(request, obj):
            # Who may look only gets every field as it is: there this one would come out.
            found[1] = (found[1][0], {**found[1][1], "fields": ("expires_at",)})
        elif obj.kind == Credential.Kind.OAUTH:
            found.insert(1, ("Sign-in", {"fields": self.sign_in_fields}))
        return [*found, ("What is known of it", {"fields": ("masked", "fingerprint", "created_at")})]

    def get_urls(self) -> list[Any]:
        return [*self.sign_in_urls(), *super().get_urls()]

    # --- Those that others share with one's domains are seen: their names and how they stand --------------------------

    def seen(self, viewer: Viewer) -> Q:
        shared = Credential.shared_with.through.objects.filter(domain_id__in=viewer.domain_ids or ())
        return self.owned(viewer) | Q(id__in=shared.values("credential_id"))  # a join might find one twice

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)
        if row is not None and not self.owns(request, row):
            row.masked = ""  # which is in its title
        return row

    def get_ordering(self, request: HttpRequest) -> Any:
        """As they are called: the order of their domains would tell whose they are."""
        return super().get_ordering(request) if viewer_in(request).sees_all else ("name",)

    def get_sortable_by(self, request: HttpRequest) -> Any:
        return super().get_sortable_by(request) if viewer_in(request).sees_all else ("called",)

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """What is not shown of others' is not looked for either."""
        return self.search_fields if viewer_in(request).sees_all else ("name",)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Forms are about one's own."""
        viewer = viewer_in(request)
        is_choice = request.resolver_match is not None and request.resolver_match.url_name == "autocomplete"
        offered = queryset.filter(self.owned(viewer)) if is_choice and not viewer.sees_all else queryset
        return super().get_search_results(request, offered, search_term)

    def save_model(self, request: HttpRequest, obj: Credential, form: Any, change: bool) -> None:
        """Only what was changed here: meanwhile the share of the traffic may have been taken back."""
        if not change:
            super().save_model(request, obj, form, change)
            return
        columns = {field.name for field in Credential._meta.concrete_fields}
        if changed := columns & {*form.changed_data}:
            obj.save(update_fields=changed)
