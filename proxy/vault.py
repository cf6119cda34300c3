"""Chooses what Claude is called with."""

from accounts.facts import ClientKeyFacts, CredentialFacts, Snapshot
from proxy.errors import NoCredential
from proxy.headers import Headers, with_bearer

OAUTH_TOKEN_START = "sk-ant-oat"  # noqa: S105 (how such a token begins)


class Choice:
    """A credential and where it came from: `domain`, `caller` or `environment`."""

    __slots__ = ("credential", "own_headers", "source")

    def __init__(self, source: str, credential: CredentialFacts | None, own_headers: Headers = ()) -> None:
        self.source = source
        self.credential = credential
        self.own_headers = own_headers

    def authenticate(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The headers with the credential; a caller's own goes as it came."""
        if self.credential is None:
            return [*headers, *self.own_headers]
        if self.credential.is_bearer:
            return with_bearer(headers, self.credential.secret)
        return [*headers, (b"x-api-key", self.credential.secret.encode())]


class Vault:
    def __init__(self, default_key: str) -> None:
        self._default = (
            CredentialFacts(None, "CLAUDE_API_KEY", default_key.startswith(OAUTH_TOKEN_START), default_key)
            if default_key
            else None
        )

    def choose(self, snapshot: Snapshot, key: ClientKeyFacts, own_headers: Headers) -> Choice:
        """The domain's own, else the caller's own where the domain allows it, else CLAUDE_API_KEY.
        Raises NoCredential."""
        if (credentials := snapshot.credentials.get(key.domain.id)) is not None:
            if not credentials:
                raise NoCredential(
                    f"No credential of the domain {key.domain.host} can be used: each is switched off or unreadable. "
                    "An operator mends that in the admin under Credentials."
                )
            return Choice("domain", credentials[0])
        if own_headers and key.domain.allow_passthrough:
            return Choice("caller", None, own_headers)
        if self._default is not None:
            return Choice("environment", self._default)
        raise NoCredential(
            f"Nexus has no credential for the domain {key.domain.host}. An operator adds one in the admin under "
            "Credentials, or sets CLAUDE_API_KEY."
        )
