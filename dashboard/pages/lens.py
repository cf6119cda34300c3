"""What a page is about: a span of time and a domain, as its address says."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, QueryDict
from django.utils import timezone
from pydantic import ValidationError

from dashboard.figures import Hours, hours_of
from dashboard.filters import Figures

RANGES = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
DEFAULT_RANGE = "24h"
NAMES = ("range", "since", "until", "domain")


class WrongAddress(ValueError):
    """A page cannot be shown as its address asks; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Lens:
    range: str
    """A name of RANGES; empty where the address gives both ends."""
    asked: Figures
    hours: Hours

    def query(self, **more: Any) -> str:
        """The same span and domain, and what else is named, to put behind a page's path. None leaves a name out."""
        kept = {"range": self.range or None, "domain": self.asked.domain}
        if not self.range:
            kept |= {"since": _written(self.asked.since), "until": _written(self.asked.until)}
        kept |= more
        return "?" + urlencode({name: value for name, value in kept.items() if value not in (None, "")})

    def requests(self, **more: Any) -> str:
        """The same for the list of requests, which knows no ranges: what is counted in whole hours is listed so."""
        ends = {"since": _written(self.hours.since), "until": _written(self.hours.until)}
        return self.query(**({"range": None} | ends | more))


def lens_of(request: HttpRequest, **more: Any) -> Lens:
    """*more*: what else the figures are asked for. Raises WrongAddress and NotAsked."""
    given: QueryDict = request.GET
    named = given.get("range", "") or ("" if "since" in given or "until" in given else DEFAULT_RANGE)
    if named and named not in RANGES:
        raise WrongAddress(f"There is no range {named[:20]!r}: take one of {', '.join(RANGES)}.")
    values: dict[str, Any] = {"domain": given.get("domain", ""), **more}
    if named:
        values["since"] = (timezone.now() - RANGES[named]).isoformat()
    else:
        values |= {name: given.get(name, "") for name in ("since", "until")}
    try:
        asked = Figures(**values)
    except ValidationError as error:
        raise WrongAddress(sentence_of(error)) from None
    return Lens(named, asked, hours_of(asked))


def sentence_of(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg'].removeprefix('Value error, ')}"


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
