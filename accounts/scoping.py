"""Who may see which rows in the admin: the base of its pages. What is of other people's domains is as if it were not
there, in lists, forms, choices, filters, actions and histories. A page that says nothing of domains is for those who
see all of them."""

from functools import lru_cache
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.options import BaseModelAdmin
from django.contrib.admin.utils import get_fields_from_path
from django.core.exceptions import FieldDoesNotExist, PermissionDenied, ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse

from accounts.access import Viewer, viewer_for

EXACTLY = ("", "__exact", "__id__exact", "__pk__exact")
"""How a list is asked for the rows of one other row."""
NEEDS_DOMAIN = "Choose what it is for: what is for everything is set up by those who see all domains."
HELD = "What other rows and the record hold of it."


def viewer_in(request: HttpRequest) -> Viewer:
    """Asked for once a request."""
    found: Viewer | None = getattr(request, "viewer_in_admin", None)
    if found is None:
        found = viewer_for(request.user)
        request.viewer_in_admin = found  # type: ignore[attr-defined]
    return found


class ConfinedChoices(BaseModelAdmin):
    """A page, or a part of one, whose fields offer rows of one's own domains."""

    def get_field_queryset(self, db: Any, db_field: Any, request: HttpRequest) -> Any:
        found = super().get_field_queryset(db, db_field, request)
        viewer, other = viewer_in(request), db_field.remote_field.model
        page = self.admin_site._registry.get(other)
        if viewer.sees_all or not isinstance(page, Confined):
            return found
        return (other._default_manager.using(db) if found is None else found).filter(page.owned(viewer))


class Confined(ConfinedChoices, admin.ModelAdmin):
    """Pages of rows that belong to domains, each seen by its members."""

    ways_to_domain: ClassVar[tuple[str, ...]] = ()
    """From a row to the id of its domain, as in a query: what one of these leads to is the row's domain. None: the rows
    are for those who see all domains."""
    is_for_all = False
    """Everybody with the permission may look. To change these rows takes one who sees all domains."""
    linked_by: ClassVar[tuple[str, ...]] = ()
    """Fields by which links ask the list, beside those of its filters."""

    def owned(self, viewer: Viewer) -> Q:
        """Rows of one's own domains."""
        found = Q(pk__in=[])
        for way in self.ways_to_domain:
            found |= Q(**{f"{way}__in": viewer.domain_ids})
        return found

    def seen(self, viewer: Viewer) -> Q:
        """Rows that may be looked at: more than one's own, where others share theirs."""
        return Q() if self.is_for_all else self.owned(viewer)

    def owns(self, request: HttpRequest, row: Any) -> bool:
        """Whether it is of one's own domains, and of no other."""
        viewer = viewer_in(request)
        if viewer.domain_ids is None:
            return True
        found = {_end_of(way, row) for way in self.ways_to_domain} - {None}
        return bool(found) and found <= viewer.domain_ids

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        rows, viewer = super().get_queryset(request), viewer_in(request)
        return rows if viewer.sees_all else rows.filter(self.seen(viewer))

    # --- What may be done --------------------------------------------------------------------------------------------

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) and (self.is_for_all or self._is_for(request))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and self._is_for(request) and viewer_in(request).sees_any

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and self._may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and self._may_touch(request, obj)

    def _is_for(self, request: HttpRequest) -> bool:
        return bool(self.ways_to_domain) or viewer_in(request).sees_all

    def _may_touch(self, request: HttpRequest, row: Any) -> bool:
        return self._is_for(request) and (row is None or self.owns(request, row))

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """What others did to what they share is theirs."""
        row = self.get_object(request, object_id)
        if row is not None and not (self.is_for_all or self.owns(request, row)):
            raise PermissionDenied
        return super().history_view(request, object_id, extra_context)

    def response_action(self, request: HttpRequest, queryset: "QuerySet[Any]", *options: Any, **others: Any) -> Any:
        """Actions reach what may be changed, not all that may be seen."""
        viewer = viewer_in(request)
        reached = queryset if viewer.sees_all else queryset.filter(self.owned(viewer))
        return super().response_action(request, reached, *options, **others)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What keeps it from being deleted may be other people's."""
        deleted, counts, needed, held = super().get_deleted_objects(objs, request)
        return deleted, counts, needed, held if viewer_in(request).sees_all else [HELD] * bool(held)

    # --- Forms -------------------------------------------------------------------------------------------------------

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        form = super().get_form(request, obj, change, **options)
        return form if viewer_in(request).sees_all else _confined(form, self, request)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """What is not shown is not chosen in the form, and stays as it is."""
        if change and not viewer_in(request).sees_all:
            for field in self.opts.many_to_many:
                if field.name in form.cleaned_data:
                    form.cleaned_data[field.name] = self._with_unseen(request, form.instance, field, form.cleaned_data)
        super().save_related(request, form, formsets, change)

    def _with_unseen(self, request: HttpRequest, row: Model, field: Any, chosen: dict[str, Any]) -> list[Any]:
        offered = self.get_field_queryset(None, field, request)
        kept = getattr(row, field.name).all()
        return [*chosen[field.name], *(kept if offered is None else kept.exclude(pk__in=offered.values("pk")))]

    # --- Lists -------------------------------------------------------------------------------------------------------

    def get_list_filter(self, request: HttpRequest) -> Any:
        found = super().get_list_filter(request)
        return found if viewer_in(request).sees_all else [self._confined_filter(each) for each in found]

    def _confined_filter(self, each: Any) -> Any:
        if isinstance(each, str):
            is_reference = get_fields_from_path(self.model, each)[-1].is_relation
            return (each, _confined_class(admin.RelatedFieldListFilter)) if is_reference else each
        if isinstance(each, tuple) and issubclass(each[1], admin.RelatedFieldListFilter):
            return (each[0], _confined_class(each[1]))
        return each

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """By what the filters offer alone: by other columns one would find out what is in those that are not shown."""
        name = lookup.partition("__")[0]
        try:
            field = self.opts.get_field(name)
        except FieldDoesNotExist:  # a filter's own word
            return super().lookup_allowed(lookup, value, request)
        if name not in {*self.linked_by, *_names(self.list_filter)}:
            return False
        if field.is_relation and not self._may_ask_for(request, field, lookup, value):
            return False
        return super().lookup_allowed(lookup, value, request)

    def _may_ask_for(self, request: HttpRequest, field: Any, lookup: str, value: str) -> bool:
        """Else one would learn whose those rows are that others share."""
        how, page = lookup.removeprefix(field.name), self.admin_site._registry.get(field.related_model)
        if viewer_in(request).sees_all or how == "__isnull":
            return True
        if how not in EXACTLY or page is None:
            return False
        try:
            return bool(page.get_queryset(request).filter(pk=value).exists())
        except (ValidationError, ValueError):
            return False


def own_rows(model: type[Model], viewer: Viewer) -> "QuerySet[Any]":
    """Those of one's own domains, as the page of such rows says."""
    rows, page = model._default_manager.all(), admin.site._registry.get(model)
    if viewer.sees_all:
        return rows
    return rows.filter(page.owned(viewer)) if isinstance(page, Confined) else rows.none()


def _end_of(way: str, row: Any) -> Any:
    for name in way.split("__"):
        row = None if row is None else getattr(row, name)
    return row


def _confined(form: Any, page: Confined, request: HttpRequest) -> Any:
    class ConfinedForm(form):  # type: ignore[misc]
        """Whatever the fields let through, the row is of one's own domains."""

        def _post_clean(self) -> None:
            super()._post_clean()
            if not self.errors and not page.owns(request, self.instance):
                self.add_error(None, NEEDS_DOMAIN)

    return ConfinedForm


@lru_cache
def _confined_class(kind: type[admin.RelatedFieldListFilter]) -> type[admin.RelatedFieldListFilter]:
    class ConfinedFilter(kind):  # type: ignore[valid-type,misc]
        """Lists what one may see."""

        def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
            page = model_admin.admin_site._registry.get(field.related_model)
            return [] if page is None else [(row.pk, str(row)) for row in page.get_queryset(request)]

    return ConfinedFilter


def _names(filters: Any) -> set[str]:
    """Of the columns that they filter by."""
    found = (each if isinstance(each, str) else each[0] for each in filters if isinstance(each, str | tuple))
    return {name.partition("__")[0] for name in found}
