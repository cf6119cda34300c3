"""Whether this process has been told to stop: it still answers what is under way, and wants nothing new. No Django."""

_is_on = False


def begin() -> None:
    global _is_on
    _is_on = True


def is_on() -> bool:
    return _is_on
