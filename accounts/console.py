"""What all pages of the admin are made of."""

from typing import TYPE_CHECKING

from accounts.scoping import Confined, ConfinedChoices

if TYPE_CHECKING:  # unfold has no types; its classes are these with other looks
    from django.contrib.admin import ModelAdmin as StyledModelAdmin
    from django.contrib.admin import TabularInline as StyledTabularInline
else:
    from unfold.admin import ModelAdmin as StyledModelAdmin
    from unfold.admin import TabularInline as StyledTabularInline


class ModelAdmin(Confined, StyledModelAdmin):
    """Of a kind of rows. Who sees which of them: accounts.scoping."""

    list_per_page = 50


class TabularInline(ConfinedChoices, StyledTabularInline):
    """Rows within the page of another one."""
