"""Credentials in the admin: how each stands at the API and why, and what a person can do about it."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from accounts.admin import CredentialAdmin
from accounts.models import Credential, Domain
from accounts.scoping import viewer_in
from telemetry.admin.limits import Limited
from telemetry.credentials import checking, reading, replacing
from telemetry.credentials.reading import Standing
from telemetry.credentials.rooms import rooms
from telemetry.credentials.status import Status, known_standings, moment, status_of, statuses, with_rows
from telemetry.credentials.uses import Use, uses
from telemetry.limits import overview
from telemetry.limits.lines import Line
from telemetry.limits.overview import Overview
from telemetry.notices.wording import duration

Said = tuple[int, str]
"""A level of `messages`, and a sentence."""
ROOMS_MAX = 30


class Cools(NamedTuple):
    family: str
    until: Any
    seconds: str


@admin.register(Credential)
class StandingCredentialAdmin(Limited, CredentialAdmin):
    limited_by = "credential"
    has_budgets = False
    list_display = ("called", "standing_now", "of_domain", "kind_short", "answers_for_it", "place")
    list_filter = (*CredentialAdmin.list_filter, "kind")
    list_select_related = ("domain", "token", "standing", "replaces")
    change_form_template = "telemetry/credential_form.html"
    change_list_template = "telemetry/credential_list.html"

    class Media:
        js = ("telemetry/credentials.js",)
        css = {"all": ("telemetry/credentials.css",)}

    def use_of(self, row: Credential) -> Overview:
        return overview.of_credential(row)

    def uses_of(self, rows: Sequence[Credential]) -> dict[UUID, list[Line]]:
        return overview.of_credentials(rows)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changes = super().get_changelist_instance(request)
        found = statuses(changes.result_list)
        for row in changes.result_list:
            row.status_now = found[row.pk]
            row.is_own = self.owns(request, row)
        return changes

    @admin.display(description="Name", ordering="name")
    def called(self, row: Any) -> SafeString:
        return format_html('{}<small class="masked">{}</small>', row.name, row.masked if row.is_own else "")

    @admin.display(description="Domain", ordering="domain")
    def of_domain(self, row: Any) -> str:
        return str(row.domain) if row.is_own else "shared with yours"

    @admin.display(description="Owner", ordering="owner")
    def answers_for_it(self, row: Any) -> str:
        return str(row.owner) if row.is_own else "—"

    @admin.display(description="Status")
    def standing_now(self, row: Any) -> SafeString:
        status: Status = row.status_now
        state = status.state.value if row.is_active else "off"
        words = state if row.is_active else "switched off"
        return format_html('<span class="standing {}" title="{}">{}</span>', state, status.reason, words)

    @admin.display(description="Kind", ordering="kind")
    def kind_short(self, row: Credential) -> str:
        return row.get_kind_display().partition(" (")[0].partition(" with ")[0]

    @admin.display(description="Place", ordering="priority")
    def place(self, row: Any) -> str:
        if not row.is_own:
            return "—"
        if row.replaces:
            return f"{row.traffic_percent} % of {row.replaces.name}"
        return f"{row.priority}, standby" if row.is_standby else str(row.priority)

    def save_model(self, request: HttpRequest, obj: Credential, form: Any, change: bool) -> None:
        """What was found out of another secret says nothing of a new one."""
        super().save_model(request, obj, form, change)
        if change and "secret" in form.changed_data:
            replacing.has_a_new_secret(obj.id)

    # --- Its page -----------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<uuid:row_id>/standing/", view(self._standing), name="accounts_credential_standing"),
            path("<uuid:row_id>/do/", view(require_POST(self._do)), name="accounts_credential_do"),
            *super().get_urls(),
        ]

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **options: Any) -> HttpResponse:
        row = options.get("obj")
        if row is not None:
            context |= self._page_of(request, row) | {"may_act": self.has_change_permission(request, row)}
        return super().render_change_form(request, context, *args, **options)

    def get_fieldsets(self, request: HttpRequest, obj: Credential | None = None) -> Any:
        """Of another domain's, what this base alone shows of it."""
        is_others = obj is not None and not self.owns(request, obj)
        return CredentialAdmin.get_fieldsets(self, request, obj) if is_others else super().get_fieldsets(request, obj)

    def _page_of(self, request: HttpRequest, row: Credential) -> dict[str, Any]:
        used = self._used_by(request, row)
        return self._shown_to(request, row) | {
            "uses": used[:ROOMS_MAX],
            "used": sum(use.requests for use in used),
            "stages": replacing.STAGES,
            "standing_url": reverse("admin:accounts_credential_standing", args=[row.pk]),
            "do_url": reverse("admin:accounts_credential_do", args=[row.pk]),
        }

    def _shown_to(self, request: HttpRequest, row: Credential) -> dict[str, Any]:
        return _shown(self._row(row.id)) | {"is_own": self.owns(request, row)}

    def _used_by(self, request: HttpRequest, row: Credential) -> list[Use]:
        """What other people's domains do with it is theirs to know."""
        found, viewer = uses([row.id], timezone.now()).get(row.id, []), viewer_in(request)
        if viewer.domain_ids is None:
            return found
        hosts = {*Domain.objects.filter(id__in=viewer.domain_ids).values_list("host", flat=True)}
        return [use for use in found if use.domain in hosts]

    def _row(self, row_id: UUID) -> Credential:
        return with_rows(Credential.objects.filter(pk=row_id)).select_related("replaces").get()

    def _standing(self, request: HttpRequest, row_id: UUID) -> HttpResponse:
        row = self._seen(request, row_id)
        if row is None or not self.has_view_permission(request, row):
            raise Http404
        return render(request, "telemetry/_credential.html", self._shown_to(request, row))

    def _seen(self, request: HttpRequest, row_id: UUID) -> Credential | None:
        rows: QuerySet[Credential] = self.get_queryset(request)
        return rows.filter(pk=row_id).first()

    # --- What a person can do -----------------------------------------------------------------------------------------

    def _do(self, request: HttpRequest, row_id: UUID) -> HttpResponse:
        row = self._seen(request, row_id)
        if row is None:
            raise Http404
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        what, _, value = request.POST.get("do", "").partition("-")
        if what not in DEEDS:
            raise Http404
        if what in QUESTIONS and request.POST.get("confirmed") != "yes":
            return self._asked(request, row, what)
        level, sentence = DEEDS[what](row, value)
        self.log_change(request, row, sentence)
        self.message_user(request, sentence, level)
        return redirect("admin:accounts_credential_change", row.pk)

    def _asked(self, request: HttpRequest, row: Credential, what: str) -> HttpResponse:
        question, consequence = QUESTIONS[what]
        context = self.admin_site.each_context(request) | {
            "row": row,
            "title": question,
            "question": question,
            "consequence": consequence.format(replaced=row.replaces.name if row.replaces else "the other one"),
            "do": request.POST["do"],
            "used": sum(use.requests for use in uses([row.id], timezone.now()).get(row.id, [])),
            "back": reverse("admin:accounts_credential_change", args=[row.pk]),
        }
        return render(request, "telemetry/confirm_deed.html", context)


def _shown(row: Credential) -> dict[str, Any]:
    """How it stands."""
    standings, is_known = known_standings()
    found, now = standings.get(str(row.id), Standing()), time.time()
    status = status_of(row, found, timezone.now(), is_known=is_known)
    coolings = sorted(found.cooling_now(now).items())
    return {
        "row": row,
        "status": status,
        "age": duration((timezone.now() - status.since).total_seconds()) if status.since else "",
        "known": getattr(row, "standing", None),
        "rooms": rooms(found, now)[:ROOMS_MAX],
        "coolings": [Cools(family, moment(each.until), duration(each.until - now)) for family, each in coolings],
        "circuit": found.circuit(now).value,
        "circuit_until": moment(found.opening.until or None),
    }


def _check(row: Credential, value: str) -> Said:
    found = checking.check(row)
    if found.is_ok:
        sentence = f"The API takes it: {found.latency_ms} ms, {len(found.models)} models."
        return messages.SUCCESS, sentence
    return (messages.WARNING if found.verdict is checking.Verdict.UNKNOWN else messages.ERROR), found.sentence


def _reset(row: Credential, value: str) -> Said:
    try:
        reading.reset(str(row.id))
    except reading.NotReached as error:
        return messages.ERROR, str(error)
    return messages.SUCCESS, "Its circuit is closed and it does not cool any more, in every process."


def _forget(row: Credential, value: str) -> Said:
    try:
        reading.forget_sessions(str(row.id))
    except reading.NotReached as error:
        return messages.ERROR, str(error)
    return messages.SUCCESS, "Its sessions are forgotten: each goes where there is most room when it comes next."


def _share(row: Credential, value: str) -> Said:
    percent = int(value) if value.isdecimal() else -1
    if percent not in replacing.STAGES or not replacing.give_share(row.id, percent):
        return messages.ERROR, "It replaces no other credential: nothing was changed."
    return messages.SUCCESS, f"It gets {percent} % of the sessions of the one that it replaces."


def _finish(row: Credential, value: str) -> Said:
    replaced = replacing.finish(row.id)
    if replaced is None:
        return messages.ERROR, "It replaces no other credential: nothing was changed."
    return messages.SUCCESS, f"{replaced.name} is switched off, and this one has its place."


def _back(row: Credential, value: str) -> Said:
    if not replacing.take_back(row.id):
        return messages.WARNING, "It has no share of the traffic of another one: nothing was changed."
    return messages.SUCCESS, "It gets no sessions of the one that it replaces any more."


DEEDS: dict[str, Callable[[Credential, str], Said]] = {
    "check": _check,
    "reset": _reset,
    "forget": _forget,
    "share": _share,
    "finish": _finish,
    "back": _back,
}
QUESTIONS = {
    "reset": (
        "Reset this credential?",
        "Its circuit is closed and its cooling ends, in every process. If the API still has no room for it, or gives "
        "no answers, requests meet that again.",
    ),
    "forget": (
        "Forget its sessions?",
        "Each session goes where there is most room when it comes next. The prompt caches of these sessions are lost.",
    ),
    "finish": (
        "Finish the replacement?",
        "{replaced} is switched off, and this one gets its place and all of its traffic.",
    ),
}
"""What is asked before it is done, and what it leads to."""
