"""Slack, webhooks and what was sent, in the admin. Addresses and secrets go in and never come out."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts.console import ModelAdmin
from accounts.ids import new_id
from accounts.scoping import viewer_in
from telemetry.admin.record import MachineRows
from telemetry.models import Delivery, SlackSettings, Target, Webhook
from telemetry.models.notices import SLACK, kinds
from telemetry.notices.addresses import validate_url
from telemetry.notices.answer import Answer, Result
from telemetry.notices.notice import Notice, NoticeKind
from telemetry.notices.places import Place, place_of
from telemetry.notices.routes import Routes
from telemetry.notices.sending import send_again, try_again

SECRET_MIN_LENGTH = 16
HEARS_ALL = "Conversations are told there, word for word: to say where takes the permission to see bodies."
HIDDEN = {"autocomplete": "off", "size": 80}
RESULTS = {
    Result.ARRIVED: "The test message arrived.",
    Result.LATER: "The test message did not arrive, and may later: {}.",
    Result.REFUSED: "The test message was refused: {}.",
    Result.BARRED: "Nothing can be sent there: {}.",
    Result.UNKNOWN: "The test message was sent, and nobody answered: {}.",
}


class SlackSettingsForm(forms.ModelForm):
    """The address is written, never read: an empty field keeps the stored one."""

    new_webhook_url = forms.CharField(
        label="Webhook URL",
        required=False,
        strip=True,
        validators=[validate_url],
        widget=forms.PasswordInput(attrs=HIDDEN),
        help_text="Slack's incoming webhook. It is stored encrypted and not shown again. Empty: it stays as it is.",
    )
    forget_webhook_url = forms.BooleanField(label="Forget the webhook URL", required=False)
    may_say_where = True
    """Whoever sets the address reads what is said there."""

    class Meta:
        model = SlackSettings
        fields = (
            "domain",
            "is_on",
            "channel",
            "username",
            "icon_emoji",
            "quiet_from",
            "quiet_until",
            "time_zone",
            "digest_at",
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("new_webhook_url") and cleaned.get("forget_webhook_url"):
            raise ValidationError("Enter a new webhook URL or forget the old one, not both.")
        if not self.may_say_where and (cleaned.get("new_webhook_url") or cleaned.get("forget_webhook_url")):
            raise ValidationError(HEARS_ALL)
        return cleaned

    def save(self, commit: bool = True) -> Any:
        url = self.cleaned_data["new_webhook_url"]
        if url or self.cleaned_data["forget_webhook_url"]:
            self.instance.webhook_url = url or None
        return super().save(commit)


@admin.register(SlackSettings)
class SlackSettingsAdmin(ModelAdmin):
    ways_to_domain = ("domain_id",)
    form = SlackSettingsForm
    list_display = ("__str__", "is_on", "webhook_masked", "channel", "reaches")
    list_select_related = ("domain",)
    readonly_fields = ("webhook_masked",)
    autocomplete_fields = ("domain",)
    actions = ("send_test",)
    fieldsets = (
        (None, {"fields": ("domain", "is_on")}),
        (
            "Where",
            {
                "fields": ("webhook_masked", "new_webhook_url", "forget_webhook_url", "channel"),
                "description": "What is empty here is as the installation's settings say, and then as the variables "
                "say. With SLACK_BOT_TOKEN messages go to the channel, unless this domain has a webhook of its own.",
            },
        ),
        ("As whom", {"fields": ("username", "icon_emoji")}),
        ("When", {"fields": (("quiet_from", "quiet_until", "time_zone"), "digest_at")}),
    )

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        form = super().get_form(request, obj, change, **options)
        form.may_say_where = viewer_in(request).may_see_bodies
        return form

    def get_fieldsets(self, request: HttpRequest, obj: SlackSettings | None = None) -> Any:
        if viewer_in(request).may_see_bodies:
            return self.fieldsets
        first, _, *others = self.fieldsets
        where = ("Where", {"fields": ("webhook_masked", "channel"), "description": HEARS_ALL})
        return (first, where, *others)

    def get_readonly_fields(self, request: HttpRequest, obj: SlackSettings | None = None) -> tuple[str, ...]:
        return self.readonly_fields if viewer_in(request).may_see_bodies else (*self.readonly_fields, "channel")

    @admin.display(description="Where it goes")
    def reaches(self, row: SlackSettings) -> str:
        place = _slack_place(row.domain_id)
        return place.label if place else "nowhere"

    def save_model(self, request: HttpRequest, obj: SlackSettings, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        _rested(_slack_place(obj.domain_id))

    @admin.action(description="Send a test message", permissions=["change"])
    def send_test(self, request: HttpRequest, rows: "QuerySet[SlackSettings]") -> None:
        for row in rows.select_related("domain"):
            _tell_test(self, request, str(row), _slack_place(row.domain_id))


class WebhookForm(forms.ModelForm):
    new_url = forms.CharField(
        label="URL",
        required=False,
        strip=True,
        validators=[validate_url],
        widget=forms.PasswordInput(attrs=HIDDEN),
        help_text="It is stored encrypted and not shown again. Empty: it stays as it is.",
    )
    new_secret = forms.CharField(
        label="Secret",
        required=False,
        strip=True,
        min_length=SECRET_MIN_LENGTH,
        widget=forms.PasswordInput(attrs=HIDDEN),
        help_text="What the receiver verifies our signature with. It is stored encrypted and not shown again.",
    )
    kinds = forms.MultipleChoiceField(
        choices=[choice for choice in kinds() if choice[0] != NoticeKind.TEST.value],
        widget=forms.CheckboxSelectMultiple,
        help_text="“conversation” is what users say and Claude answers.",
    )

    may_hear_conversations = True

    class Meta:
        model = Webhook
        fields = ("name", "domain", "kinds", "is_active")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name in ("new_url", "new_secret"):
            if self.instance._state.adding and not cleaned.get(name) and name not in self.errors:
                self.add_error(name, "A new webhook needs this.")
        return cleaned

    def clean_kinds(self) -> list[str]:
        kinds: list[str] = self.cleaned_data["kinds"]
        if NoticeKind.CONVERSATION.value in kinds and not self.may_hear_conversations:
            raise ValidationError(HEARS_ALL)
        return kinds

    def save(self, commit: bool = True) -> Any:
        for name in ("url", "secret"):
            if value := self.cleaned_data[f"new_{name}"]:
                setattr(self.instance, name, value)
        return super().save(commit)


@admin.register(Webhook)
class WebhookAdmin(ModelAdmin):
    ways_to_domain = ("domain_id",)
    form = WebhookForm
    list_display = ("name", "url_masked", "domain", "told_of", "is_active")
    list_select_related = ("domain",)
    readonly_fields = ("url_masked",)
    autocomplete_fields = ("domain",)
    actions = ("send_test",)
    fields = ("name", "url_masked", "new_url", "new_secret", "domain", "kinds", "is_active")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        form = super().get_form(request, obj, change, **options)
        form.may_hear_conversations = viewer_in(request).may_see_bodies
        return form

    def has_change_permission(self, request: HttpRequest, obj: Webhook | None = None) -> bool:
        """One that hears conversations could be pointed elsewhere."""
        may = super().has_change_permission(request, obj)
        hears = obj is not None and NoticeKind.CONVERSATION.value in obj.kinds
        return may and (not hears or viewer_in(request).may_see_bodies)

    @admin.display(description="Told of")
    def told_of(self, hook: Webhook) -> str:
        return ", ".join(hook.kinds)

    def save_model(self, request: HttpRequest, obj: Webhook, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        _rested(place_of(str(obj.id), obj.domain_id, Routes.load()))

    @admin.action(description="Send a test message", permissions=["change"])
    def send_test(self, request: HttpRequest, hooks: "QuerySet[Webhook]") -> None:
        for hook in hooks:
            _tell_test(self, request, hook.name, place_of(str(hook.id), hook.domain_id, Routes.load()))


def _slack_place(domain_id: UUID | None) -> Place | None:
    return place_of(SLACK, domain_id, Routes.load())


def _rested(place: Place | None) -> None:
    """Settings were saved: what was given up may be tried again."""
    if place is not None:
        try_again(Target.objects.filter(id=place.id))


def _tell_test(page: Any, request: HttpRequest, name: str, place: Place | None) -> None:
    if place is None:
        page.message_user(request, f"{name}: nothing is sent, it is off or has no address.", messages.WARNING)
        return
    answer = _test(place)
    level = messages.SUCCESS if answer.result is Result.ARRIVED else messages.ERROR
    page.message_user(request, f"{name}: {RESULTS[answer.result].format(answer.error)}", level)
    if answer.result is Result.ARRIVED:
        _rested(place)


def _test(place: Place) -> Answer:
    text = "If you can read this, notices of Nexus arrive here."
    notice = Notice(
        id=new_id(), kind=NoticeKind.TEST, domain_id=None, title="A test", text=text, at=timezone.now(), color="good"
    )
    return place.post(notice, new_id(), "")


@admin.register(Delivery)
class DeliveryAdmin(MachineRows):
    ways_to_domain = ("domain_id",)
    list_display = ("entered", "kind", "domain", "target_label", "state", "attempts", "http_status", "error")
    list_filter = ("state", "kind")
    list_select_related = ("domain",)
    sortable_by = ("entered",)
    actions = ("send_again",)
    fields = (
        ("entered_at", "due_at", "settled_at"),
        ("kind", "domain", "exchange_id", "notice_id"),
        ("sink", "target_label"),
        ("state", "attempts", "http_status", "error"),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Delivery]":
        return super().get_queryset(request).defer("payload")

    def get_list_display(self, request: HttpRequest) -> Any:
        """The installation's places are not told to those who see some domains."""
        found = super().get_list_display(request)
        return found if viewer_in(request).sees_all else [name for name in found if name != "target_label"]

    def get_fields(self, request: HttpRequest, obj: Delivery | None = None) -> Any:
        found = super().get_fields(request, obj)
        return found if viewer_in(request).sees_all else [line for line in found if "target_label" not in line]

    @admin.display(description="When (UTC)", ordering="id")
    def entered(self, delivery: Delivery) -> str:
        return f"{delivery.entered_at:%b %d %H:%M:%S}"

    def has_send_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("telemetry.change_delivery"))

    @admin.action(description="Send again what failed or was not confirmed", permissions=["send"])
    def send_again(self, request: HttpRequest, deliveries: "QuerySet[Delivery]") -> None:
        count = send_again(Delivery.objects.filter(pk__in=list(deliveries.values_list("pk", flat=True))))
        self.message_user(request, f"{count} messages are sent again. One that was not confirmed may arrive twice.")


@admin.register(Target)
class TargetAdmin(MachineRows):
    list_display = ("label", "failing_since", "failing_reason", "failures", "delivered_at", "dropped")
    fields = (*list_display, "free_at")
    actions = ("try_again",)

    def has_send_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("telemetry.change_target"))

    @admin.action(description="Try again", permissions=["send"])
    def try_again(self, request: HttpRequest, targets: "QuerySet[Target]") -> None:
        self.message_user(request, f"{try_again(targets)} targets are tried again at once.")
