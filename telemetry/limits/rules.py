"""The rules of a client key that are no numbers, in sentences: its own, else its domain's."""

from accounts.modelrules import Unpriced, model_patterns
from accounts.models import ClientKey


def rules_of(key: ClientKey) -> list[str]:
    return [*_models(key), _unpriced(key), _waiting(key)]


def _models(key: ClientKey) -> list[str]:
    lists = (("The key", key.allowed_models), ("Its domain", key.domain.allowed_models))
    found = [f"{whose} allows only {', '.join(model_patterns(text))}." for whose, text in lists if model_patterns(text)]
    return found or ["Any model is allowed."]


def _unpriced(key: ClientKey) -> str:
    rule = Unpriced(key.unpriced_models or key.domain.unpriced_models)
    return f"A model without a price: {rule.label} ({_whose(bool(key.unpriced_models))})."


def _waiting(key: ClientKey) -> str:
    is_own = key.max_wait_seconds is not None
    seconds = key.max_wait_seconds if is_own else key.domain.max_wait_seconds
    if not seconds:
        return f"Where a limit is reached, a request is refused at once ({_whose(is_own)})."
    kind = "background work, " if key.is_background else ""
    return f"Where a limit is reached, a request waits up to {seconds} s ({_whose(is_own)}); {kind}weight {key.weight}."


def _whose(is_own: bool) -> str:
    return "its own rule" if is_own else "its domain's rule"
