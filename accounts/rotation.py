"""Which of our keys every stored secret was written with, and how all of them come to the first one. The fields are
found by looking at all models: nobody has to remember to name a new one."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.models.functions import Cast

from accounts.crypto import EncryptedTextField, Sealed, WrongEncryptionKey, key_count, key_position, rewritten
from accounts.models import Installation

NAMED_MAX = 10


@dataclass(frozen=True, slots=True)
class Text:
    """One stored secret, and where it is."""

    model: type[models.Model]
    column: str
    pk: Any
    stored: str = field(repr=False)

    def __str__(self) -> str:
        return f"{self.model._meta.label} {self.pk} ({self.column})"


@dataclass(slots=True)
class Survey:
    by_position: Counter[int] = field(default_factory=Counter)
    """Texts by the position of their key, from 0."""
    unreadable: list[Text] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.by_position.total() + len(self.unreadable)

    @property
    def is_done(self) -> bool:
        """All need the first key only."""
        return not self.unreadable and not any(self.by_position[position] for position in self.by_position if position)

    def lines(self) -> Iterator[str]:
        """For each key what is still written with it, and whether it may go."""
        for position in range(key_count()):
            count = self.by_position[position]
            if position == 0:
                yield f"Key 1, which encrypts: {count} secrets."
            elif count:
                yield f"Key {position + 1}: {count} secrets still need it. Keep it."
            else:
                yield f"Key {position + 1}: nothing needs it. It may go from NEXUS_ENCRYPTION_KEYS."
        for text in self.unreadable:
            yield f"{text} can be read with none of the keys: add the one it was written with, or set the secret anew."


def fields() -> list[tuple[type[models.Model], str]]:
    return [
        (model, each.attname)
        for model in apps.get_models()
        for each in model._meta.concrete_fields
        if isinstance(each, EncryptedTextField)
    ]


def texts() -> Iterator[Text]:
    for model, name in fields():
        rows: models.QuerySet[Any] = models.QuerySet(model).filter(**{f"{name}__isnull": False}).order_by("pk")
        for pk, sealed in rows.values_list("pk", name).iterator(chunk_size=500):
            if isinstance(sealed, Sealed):
                yield Text(model, name, pk, sealed.text)


def survey() -> Survey:
    found = Survey()
    for text in texts():
        position = key_position(text.stored)
        if position is None:
            found.unreadable.append(text)
        else:
            found.by_position[position] += 1
    return found


def rotate(progress: Callable[[int], object] = lambda done: None) -> int:
    """Writes with the first key whatever was written with another one; how many that were. What cannot be read stays as
    it is. Stopped at any point, it goes on where it was. What is changed meanwhile is left to whoever changed it."""
    done = 0
    for text in list(texts()):
        if key_position(text.stored) == 0:
            continue
        try:
            new = rewritten(text.stored)
        except WrongEncryptionKey:
            continue
        done += _replace(text, new)
        progress(done)
    if done:
        Installation.announce_change()
    return done


def _replace(text: Text, new: str) -> int:
    same: models.QuerySet[Any] = models.QuerySet(text.model).annotate(stored_text=Cast(text.column, models.TextField()))
    return same.filter(pk=text.pk, stored_text=text.stored).update(**{text.column: Sealed(new)})


def check_readable() -> None:
    """Raises ImproperlyConfigured where a key is missing that stored secrets need: to start without it would leave them
    out without a word."""
    missing = survey().unreadable
    if not missing:
        return
    named = ", ".join(map(str, missing[:NAMED_MAX]))
    more = f" and {len(missing) - NAMED_MAX} more" if len(missing) > NAMED_MAX else ""
    raise ImproperlyConfigured(
        f"NEXUS_ENCRYPTION_KEYS cannot read {len(missing)} stored secrets: {named}{more}. Add the key that they were "
        "written with to the end of the list, then run `nexus rotate-keys`. If it is lost, start with "
        "ALLOW_UNREADABLE_SECRETS=true and set these secrets anew."
    )
