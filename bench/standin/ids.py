"""Ids that look like Anthropic's and are the same on every run."""

import random
import string

ALPHABET = string.digits + string.ascii_letters


class Ids:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def new(self, prefix: str) -> str:
        return f"{prefix}01{''.join(self._random.choices(ALPHABET, k=22))}"
