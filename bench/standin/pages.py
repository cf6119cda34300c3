"""Cursor paging as the API does it."""

from collections.abc import Mapping, Sequence

from bench.asgi import Json


def page(items: Sequence[Json], query: Mapping[str, str]) -> Json:
    ids = [item["id"] for item in items]
    limit = int(query.get("limit", 20))
    if "before_id" in query:
        end = ids.index(query["before_id"]) if query["before_id"] in ids else 0
        start = max(end - limit, 0)
        chosen, more = items[start:end], start > 0
    else:
        start = ids.index(query["after_id"]) + 1 if query.get("after_id") in ids else 0
        chosen, more = items[start : start + limit], start + limit < len(items)
    return {
        "data": list(chosen),
        "has_more": more,
        "first_id": chosen[0]["id"] if chosen else None,
        "last_id": chosen[-1]["id"] if chosen else None,
    }
