"""The admin's looks: its name, its colours, and the way to each of its pages."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy

GREYS = {
    "50": "oklch(98.4% .003 247.858)",
    "100": "oklch(96.8% .007 247.896)",
    "200": "oklch(92.9% .013 255.508)",
    "300": "oklch(86.9% .022 252.894)",
    "400": "oklch(70.4% .04 256.788)",
    "500": "oklch(50.4% .046 257.417)",
    "600": "oklch(44.6% .043 257.281)",
    "700": "oklch(37.2% .044 257.287)",
    "800": "oklch(27.9% .041 260.031)",
    "900": "oklch(20.8% .042 265.755)",
    "950": "oklch(12.9% .042 264.695)",
}
INDIGO = {
    "50": "oklch(96.2% .018 272.314)",
    "100": "oklch(93% .034 272.788)",
    "200": "oklch(87% .065 274.039)",
    "300": "oklch(78.5% .115 274.713)",
    "400": "oklch(67.3% .182 276.935)",
    "500": "oklch(58.5% .233 277.117)",
    "600": "oklch(51.1% .262 276.966)",
    "700": "oklch(45.7% .24 277.023)",
    "800": "oklch(39.8% .195 277.366)",
    "900": "oklch(35.9% .144 278.697)",
    "950": "oklch(25.7% .09 281.288)",
}


def looks(*, is_debug: bool) -> dict[str, Any]:
    """For unfold."""
    return {
        "SITE_TITLE": "Nexus",
        "SITE_HEADER": "Nexus",
        "SITE_SUBHEADER": "Console",
        "SITE_URL": "/dashboard/",
        "SITE_SYMBOL": "hub",
        "SHOW_HISTORY": True,
        "SHOW_VIEW_ON_SITE": False,
        "ENVIRONMENT": "nexus.console.environment" if is_debug else None,
        "DASHBOARD_CALLBACK": "dashboard.attention.callback",
        "STYLES": [lambda request: static("console/console.css")],
        "COLORS": {"base": GREYS, "primary": INDIGO},
        "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": _navigation()},
    }


def environment(request: HttpRequest) -> list[str]:
    return ["DEBUG", "warning"]


def _navigation() -> list[dict[str, Any]]:
    def rows(title: str, icon: str, model: str) -> dict[str, Any]:
        app, name = model.split(".")
        link = reverse_lazy(f"admin:{app}_{name}_changelist")
        return {"title": title, "icon": icon, "link": link, "permission": _may_look(f"{app}.view_{name}")}

    return [
        {
            "items": [
                {"title": "Needs attention", "icon": "notifications", "link": reverse_lazy("admin:index")},
                {"title": "Dashboard", "icon": "monitoring", "link": reverse_lazy("dashboard:overview")},
            ]
        },
        {
            "title": "Register",
            "separator": True,
            "items": [
                rows("Domains", "dns", "accounts.domain"),
                rows("Credentials", "key_vertical", "accounts.credential"),
                rows("Client keys", "key", "accounts.clientkey"),
            ],
        },
        {
            "title": "Money and limits",
            "separator": True,
            "items": [
                rows("Rate limits", "speed", "accounts.ratelimit"),
                rows("Budgets", "savings", "accounts.budget"),
                rows("Prices", "sell", "telemetry.pricerow"),
                rows("Adjustments", "price_change", "telemetry.adjustment"),
            ],
        },
        {
            "title": "Record",
            "separator": True,
            "items": [
                rows("Exchanges", "receipt_long", "telemetry.exchangerow"),
                rows("Message batches", "inventory_2", "telemetry.batchrow"),
            ],
        },
        {
            "title": "Notices",
            "separator": True,
            "items": [
                rows("Incidents", "warning", "telemetry.incident"),
                rows("Rules", "rule", "telemetry.rulesettings"),
                rows("Slack", "tag", "telemetry.slacksettings"),
                rows("Webhooks", "webhook", "telemetry.webhook"),
                rows("Deliveries", "outgoing_mail", "telemetry.delivery"),
            ],
        },
        {
            "title": "People",
            "separator": True,
            "items": [rows("Users", "person", "auth.user"), rows("Groups", "group", "auth.group")],
        },
    ]


def _may_look(permission: str) -> Callable[[HttpRequest], bool]:
    return lambda request: bool(request.user.has_perm(permission))
