"""Resolves the client key of a request in memory: no query, no thread."""

import hmac
from collections.abc import Callable
from datetime import UTC, datetime

from accounts import hosts
from accounts.facts import ClientKeyFacts, Snapshot
from accounts.secret import digest, prefix_of


class Refused(Exception):
    """A caller is not let in; the sentence is for them. `forbidden` tells 403 from 401."""

    def __init__(self, message: str, *, forbidden: bool = False, key: ClientKeyFacts | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.forbidden = forbidden
        self.key = key


class KeyRing:
    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def authenticate(self, presented: str, host: str) -> ClientKeyFacts:
        """The key that was presented, if it is good for that Host. Raises Refused."""
        return self.recognise(presented, host)[0]

    def recognise(self, presented: str, host: str) -> tuple[ClientKeyFacts, bool]:
        """And whether it came with the secret that it had before it was rotated. Raises Refused."""
        snapshot = self._snapshot()
        key, is_previous = _find(snapshot, presented)
        if key is None:
            raise Refused("This client key is not known here. Check it for a missing part, or ask for a new one.")
        if key.revoked_at is not None:
            raise Refused(f"The client key “{key.name}” was revoked. Ask for a new one.", key=key)
        if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
            raise Refused(
                f"The client key “{key.name}” expired on {key.expires_at:%Y-%m-%d}. Ask for a new one.",
                key=key,
            )
        if not key.domain.is_active:
            raise Refused(f"The domain {key.domain.host} is switched off.", forbidden=True, key=key)
        named = snapshot.domains.get(hosts.normalise(host))
        if named is not None and named.id != key.domain.id:
            raise Refused(
                f"The client key “{key.name}” belongs to another domain than {named.host}. "
                f"Call {key.domain.host}, or use a key of {named.host}.",
                forbidden=True,
                key=key,
            )
        if is_previous and (key.previous_until is None or key.previous_until <= datetime.now(UTC)):
            raise Refused(
                f"The client key “{key.name}” was given a new secret, and the time of the old one is over. Use the new "
                "one.",
                key=key,
            )
        return key, is_previous


def _find(snapshot: Snapshot, presented: str) -> tuple[ClientKeyFacts | None, bool]:
    """And whether it is the secret that the key had before."""
    computed = digest(presented, snapshot.pepper)
    candidates = snapshot.keys_by_prefix.get(prefix_of(presented, computed), ())
    for key in candidates:
        if hmac.compare_digest(key.digest, computed):
            return key, False
        if key.previous_digest and hmac.compare_digest(key.previous_digest, computed):
            return key, True
    return None, False
