"""Figures as people read them."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from dashboard import markdown

register = template.Library()
register.filter("markdown", markdown.html)
NOTHING = "—"
STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K"))


@register.filter
def compact(number: float | None) -> str:
    """1234567: 1.23M."""
    if number is None:
        return NOTHING
    for size, letter in STEPS:
        if abs(number) >= size:
            return f"{number / size:.3g}{letter}" if abs(number) / size < 999.5 else f"{number / size:.0f}{letter}"
    return f"{number:,.0f}"


@register.filter
def whole(number: float | None) -> str:
    """1234567: 1,234,567."""
    return NOTHING if number is None else f"{number:,.0f}"


@register.filter
def usd(amount: Any) -> str:
    """With as many places as matter: $12.30, $0.0042."""
    if amount in (None, ""):
        return NOTHING
    value = Decimal(amount)
    if value == 0 or abs(value) >= 1:
        return f"${value:,.2f}"
    return f"${value:.4f}" if abs(value) >= Decimal("0.0001") else f"${value:.6f}"


@register.filter
def percent(share: float | None) -> str:
    """Of 1. What is nearly all does not read as all."""
    if share is None:
        return NOTHING
    if 0.9995 <= share < 1:
        return "99.9 %"
    return f"{share * 100:.1f} %" if share not in (0, 1) else f"{share * 100:.0f} %"


@register.filter
def used(left: float | None) -> str:
    """Percent of what is full when nothing is left."""
    return NOTHING if left is None else f"{(1 - left) * 100:.0f}"


@register.filter
def ms(milliseconds: float | None) -> str:
    if milliseconds is None:
        return NOTHING
    return f"{milliseconds / 1000:.3g} s" if milliseconds >= 1000 else f"{milliseconds:.0f} ms"


@register.filter
def size(count: float | None) -> str:
    """Bytes."""
    if count is None:
        return NOTHING
    for step, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= step:
            return f"{count / step:.3g} {name}"
    return f"{count:.0f} B"


@register.filter
def ago(moment: datetime | None) -> str:
    if moment is None:
        return NOTHING
    seconds = (timezone.now() - moment).total_seconds()
    if abs(seconds) < 60:
        return "just now" if seconds >= 0 else "in a moment"
    words = _span(abs(seconds))
    return f"{words} ago" if seconds > 0 else f"in {words}"


def _span(seconds: float) -> str:
    for unit, name in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit:
            return f"{seconds // unit:.0f}{name}"
    return f"{seconds:.0f}s"


@register.filter
def clock(moment: datetime | None) -> SafeString | str:
    """The moment in UTC, the whole of it in a tool tip."""
    if moment is None:
        return NOTHING
    shown = f"{moment:%H:%M:%S}" if moment.date() == timezone.now().date() else f"{moment:%b %d %H:%M}"
    return format_html('<time datetime="{}" title="{} UTC">{}</time>', moment.isoformat(), f"{moment:%F %T}", shown)


@register.simple_tag
def filtered(kept: dict[str, str], name: str, value: Any) -> str:
    """The address of the list with one filter more."""
    return f"?{urlencode(kept | {name: str(value)})}"


@register.simple_tag
def status_class(status: int | None) -> str:
    if not status:
        return "off"
    return "ok" if status < 400 else "warn" if status < 500 else "bad"


@register.simple_tag
def sparkline(values: list[float | None], width: int = 120, height: int = 28) -> SafeString | str:
    """A small curve, as SVG without a style: what is not known is a gap."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return ""
    low, high = min(known), max(known)
    room = (high - low) or 1
    step = width / max(len(values) - 1, 1)
    points = (
        f"{place * step:.1f},{height - 2 - (value - low) / room * (height - 4):.1f}"
        for place, value in enumerate(values)
        if value is not None
    )
    return format_html(
        '<svg class="spark" viewBox="0 0 {} {}" width="{}" height="{}" preserveAspectRatio="none" aria-hidden="true">'
        '<polyline points="{}"/></svg>',
        *(width, height, width, height),
        " ".join(points),
    )
