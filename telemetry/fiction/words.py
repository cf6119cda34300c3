"""Sentences for previews and bodies. Words are as unevenly frequent as words are (Zipf's law): how PostgreSQL searches
them depends on it."""

from itertools import accumulate
from random import Random

WORDS = """
the a is this that with please add check fix find write read run move rename remove explain review test build why does
fail how without from into after before when each every only same new old slow wrong missing empty broken function class
module file folder case query index table column row page list button form field value key token request answer stream
event error log line branch commit merge release deploy server client database cache queue worker retry limit timeout
budget invoice report customer order payment account session password login search filter export import upload download
schema migration type interface parser decoder buffer thread process memory disk network latency
"""
"""From the most frequent to the least."""
SENTENCES = 5000
TICKETS = 50_000
OFTEN_SAID, SOMETIMES_SAID, RARELY_SAID, NEVER_SAID = "please", "latency", "4821", "xylophone"
"""In every second preview, in one of twenty, in one of 50,000 (the number of a ticket), and in none."""


class Sentences:
    def __init__(self, random: Random) -> None:
        self._random = random
        words = WORDS.split()
        weights = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))
        self._pool = [
            " ".join(random.choices(words, cum_weights=weights, k=random.randint(6, 22))).capitalize()
            for _ in range(SENTENCES)
        ]
        self._names = [f"{first.capitalize()}{second.capitalize()}" for first in words for second in words]
        random.shuffle(self._names)

    def one(self) -> str:
        return self._pool[int(self._random.random() * SENTENCES)]

    def with_ticket(self) -> str:
        """Names a class too, of some ten thousand."""
        name = self._names[int(len(self._names) ** self._random.random()) - 1]
        return f"Ticket {int(self._random.random() * TICKETS)}, {name}: {self.one()}"

    def text(self, length: int) -> str:
        """Of about so many characters."""
        parts: list[str] = []
        while length > 0:
            parts.append(self.one())
            length -= len(parts[-1]) + 2
        return ". ".join(parts)
