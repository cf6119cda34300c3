"""JSON as parts that open and close, made here: no script reads it."""

from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

NODES_MAX = 1500
DEPTH_MAX = 30
OPEN_DEPTH = 2
STRING_MAX_CHARACTERS = 2_000


class _Count:
    left = NODES_MAX


def tree(value: Any) -> SafeString:
    count = _Count()
    drawn = _node("", value, 0, count)
    return (
        drawn if count.left > 0 else format_html('{}<p class="quiet">More of it is in the raw body below.</p>', drawn)
    )


def _node(name: str, value: Any, depth: int, count: _Count) -> SafeString:
    count.left -= 1
    label = format_html('<span class="name">{}</span> ', name) if name else mark_safe("")
    if not isinstance(value, dict | list) or not value:
        return format_html('<div class="leaf">{}{}</div>', label, _leaf(value))
    if count.left <= 0 or depth >= DEPTH_MAX:
        return format_html('<div class="leaf">{}…</div>', label)
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
    children = (_node(str(key)[:200], child, depth + 1, count) for key, child in pairs[: max(count.left, 0)])
    return format_html(
        "<details{}><summary>{}{}</summary>{}</details>",
        mark_safe(" open" if depth < OPEN_DEPTH else ""),  # noqa: S308 (one of two constants)
        label,
        f"{{{len(pairs)}}}" if isinstance(value, dict) else f"[{len(pairs)}]",
        format_html_join("", "{}", ((child,) for child in children)),
    )


def _leaf(value: Any) -> SafeString:
    if isinstance(value, str):
        cut = value[:STRING_MAX_CHARACTERS]
        more = f"… {len(value) - len(cut):,} more characters" if len(cut) < len(value) else ""
        return format_html('<span class="string">{}</span><span class="quiet">{}</span>', cut, more)
    words = {None: "null", True: "true", False: "false"}
    known = value is None or isinstance(value, bool)
    return format_html('<span class="value">{}</span>', words[value] if known else value if value else _empty(value))


def _empty(value: Any) -> str:
    return "{}" if isinstance(value, dict) else "[]" if isinstance(value, list) else str(value)
