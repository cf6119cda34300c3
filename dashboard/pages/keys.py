"""GET /dashboard/keys: who calls, how full their limits are, and what is left of budgets."""

from typing import Any

from django.db.models import F
from django.http import HttpRequest, HttpResponseBase

from accounts.access import Viewer
from accounts.models import ClientKey
from dashboard import figures, limits
from dashboard.filters import By, OfDomain, OfWhom
from dashboard.pages.door import shared_page
from dashboard.pages.lens import Lens, lens_of
from dashboard.pages.parts import PARTS_MAX
from dashboard.pages.sheet import sheet
from dashboard.pages.tables import Column, Link, Share, State, Table
from dashboard.scope import seen

KEYS_MAX = 500
KEY_COLUMNS = (
    Column("Client key", "link"),
    Column("Domain"),
    Column("State", "state"),
    Column("Last used", "ago"),
    Column("Requests", "count"),
    Column("Tokens in", "compact"),
    Column("Tokens out", "compact"),
    Column("Cost", "usd"),
)
LIMIT_COLUMNS = (
    Column("Limit"),
    Column("Of"),
    Column("Full", "share"),
    Column("Used"),
    Column("Allowed"),
    Column("Free again", "ago"),
    Column("Set by"),
)
BUDGET_COLUMNS = (
    Column("Budget", "link"),
    Column("Of"),
    Column("Period"),
    Column("Full", "share"),
    Column("Spent", "usd"),
    Column("Amount", "usd"),
    Column("Begins anew", "ago"),
    Column("Ends about", "ago"),
)


@shared_page
def view(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    lens = lens_of(request)
    return sheet(
        request, viewer, "keys", lens, [], [_keys(viewer, lens), _limits(viewer, lens), _budgets(viewer, lens)]
    )


def _keys(viewer: Viewer, lens: Lens) -> Table:
    """The last used first."""
    parts, _ = figures.breakdown(viewer, lens.asked, lens.hours, By.KEY, PARTS_MAX, times=False)
    used = {part.id: part.figures for part in parts}
    keys = ClientKey.objects.filter(seen(viewer, lens.asked.domain)).select_related("domain")
    rows = []
    for key in keys.order_by(F("last_used_at").desc(nulls_last=True), "id")[:KEYS_MAX]:
        sums = used.get(key.id)
        figures_of = [sums.requests, sums.input_tokens, sums.output_tokens, sums.cost] if sums else [0, 0, 0, "0"]
        state = State(key.state, "ok" if key.state == "active" else "")
        link = Link(key.name, f"/admin/accounts/clientkey/{key.id}/change/")
        rows.append([link, key.domain.host, state, key.last_used_at, *figures_of])
    return Table("keys", "Client keys", KEY_COLUMNS, rows, "There is no client key yet.")


def _limits(viewer: Viewer, lens: Lens) -> Table:
    found = limits.limits(viewer, OfWhom(domain=lens.asked.domain, key=None, credential=None))
    lines = [each for each in found["limits"] if not each["why_not"]]
    rows = [_limit(each) for each in sorted(lines, key=lambda each: -(each["share"] or 0))]
    note = found["figures"]["sentence"]
    return Table("limits", "Rate limits, the fullest first", LIMIT_COLUMNS, rows, "Nothing is limited here.", note)


def _limit(each: dict[str, Any]) -> list[Any]:
    of = f"{each['of']}, {each['person']}" if each["person"] else each["of"]
    share = Share(each["share"])
    used = _amount(each["used"]) if each["is_known"] else "not known"
    return [each["name"], of, share, used, _amount(each["limit"]), each["frees_at"], each["set_by"]]


def _amount(amount: int | str) -> str:
    """Money comes as text."""
    return f"${amount}" if isinstance(amount, str) else f"{amount:,}"


def _budgets(viewer: Viewer, lens: Lens) -> Table:
    found = limits.budgets(viewer, OfDomain(domain=lens.asked.domain))
    rows = [_budget(budget, use) for budget in found["budgets"] for use in (budget["use"] or [None])]
    return Table("budgets", "Budgets", BUDGET_COLUMNS, rows, "There is no budget.")


def _budget(budget: dict[str, Any], use: dict[str, Any] | None) -> list[Any]:
    of = budget["client_key"] or budget["domain"] or "everything"
    if use and use["person"]:
        of = f"{of}, {use['person']}"
    spent = use["used"] if use and use["is_known"] else None
    return [
        Link(budget["name"], f"/admin/accounts/budget/{budget['id']}/change/"),
        of,
        budget["period"],
        Share(use["share"] if use else None),
        spent,
        budget["amount"],
        use["frees_at"] if use else None,
        budget["ends_about"],
    ]
