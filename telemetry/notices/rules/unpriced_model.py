"""Something was used for which there is no price: the sums of money are too small."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from accounts.ids import first_id_at
from telemetry.models import ExchangeRow, Limits, Pricing, Severity
from telemetry.notices.finding import Finding
from telemetry.notices.rules.rule import WatchedRule

ROWS_MAX = 10_000


def find(now: datetime, limits: Limits) -> Iterable[Finding]:
    span = {"id__gte": first_id_at(now - limits.window), "id__lt": first_id_at(now)}
    rows = ExchangeRow.objects.filter(pricing=Pricing.UNPRICED, **span).order_by("-id")
    times: dict[str, list[datetime]] = {}
    for answered, asked, started_at in rows.values_list("answered_model", "model", "started_at")[:ROWS_MAX]:
        times.setdefault(answered or asked or "unknown", []).append(started_at)
    for model, started in times.items():
        if len(started) >= limits.minimum:
            yield _finding(model, started, limits)


def _finding(model: str, started: list[datetime], limits: Limits) -> Finding:
    return Finding(
        rule=RULE.name,
        object=model,
        label=f"{model} has no price",
        severity=limits.severity,
        sentence=f"There is no price for what was used of {model}: it is missing from all costs.",
        advice="Add a price in the admin under Prices, then run `nexus reprice`.",
        facts={"requests": len(started), "since": f"{min(started):%Y-%m-%d %H:%M} UTC"},
    )


RULE = WatchedRule(
    "unpriced_model",
    "A model has no price",
    Limits(window=timedelta(days=1), severity=Severity.WARNING),
    find,
    "Minimum: requests in the window.",
)
