"""Signing in: authorization code with PKCE S256 (RFC 7636), where and for which client the operator says."""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

from django.db import transaction

from accounts.models import Credential, CredentialStanding, Installation, OAuthToken
from accounts.oauth.conf import OAuthConf
from accounts.oauth.endpoint import OAUTH_BETA, Granted, TokenError, ask
from accounts.secret import masked

SECONDS = 600
"""How long a person may take."""
CODE_MAX_LENGTH = 4000
_REFUSALS = {
    "access_denied": "Somebody said no.",
    "invalid_scope": "It does not know the scopes of CLAUDE_OAUTH_SCOPES.",
}


class CannotSignIn(Exception):
    """The sentence says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in that somebody is at."""

    url: str
    """Where to go."""
    state: str = field(repr=False)
    verifier: str = field(repr=False)


def begin(conf: OAuthConf, redirect_url: str) -> Begun:
    """Raises CannotSignIn where the operator has not said with which client, and where."""
    if missing := _missing(conf):
        raise CannotSignIn(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set. Register an OAuth client of your "
            "own and name it there: Nexus brings none."
        )
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    asked = {
        "response_type": "code",
        "client_id": conf.client_id,
        "redirect_uri": redirect_url,
        "state": state,
        "code_challenge": _challenge(verifier),
        "code_challenge_method": "S256",
        **({"scope": " ".join(conf.scopes)} if conf.scopes else {}),
    }
    separator = "&" if "?" in conf.authorize_url else "?"
    return Begun(f"{conf.authorize_url}{separator}{urlencode(asked)}", state, verifier)


def code_of(query: str, state: str) -> str:
    """The code in what the browser came back with. Raises CannotSignIn, also where it is about another sign-in."""
    said = {name: values[0] for name, values in parse_qs(query).items()}
    if not secrets.compare_digest(said.get("state", "").encode(), state.encode()):
        raise CannotSignIn("This answer belongs to another sign-in: its state is not ours. Begin again.")
    if error := said.get("error"):
        raise CannotSignIn(f"The sign-in was refused. {_REFUSALS.get(error, '')}".strip())
    code = said.get("code", "")
    if not code or len(code) > CODE_MAX_LENGTH:
        raise CannotSignIn("The answer holds no code. Begin again.")
    return code


def code_in(pasted: str, state: str) -> str:
    """The code in what somebody has copied: the whole address, or `code#state` as some places show it. Raises
    CannotSignIn."""
    text = pasted.strip()
    query = urlsplit(text).query if "://" in text else ""
    if not query and "#" in text:
        code, _, said = text.partition("#")
        query = urlencode({"code": code, "state": said})
    return code_of(query, state)


def finish(conf: OAuthConf, credential: Credential, code: str, begun: Begun, redirect_url: str) -> Granted:
    """Gets the tokens and saves them. Raises CannotSignIn."""
    grant = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_url,
        "client_id": conf.client_id,
        "code_verifier": begun.verifier,
        **({"client_secret": conf.client_secret} if conf.client_secret else {}),
    }
    try:
        granted = ask(conf, grant, OAUTH_BETA)
    except TokenError as error:
        raise CannotSignIn(f"{error.message} Begin again.") from None
    if not granted.refresh_token:
        raise CannotSignIn(
            "The token endpoint gave no refresh token: it may need another scope, see CLAUDE_OAUTH_SCOPES."
        )
    _save(credential, granted, conf.client_id)
    return granted


def _save(credential: Credential, granted: Granted, client_id: str) -> None:
    with transaction.atomic():
        token = OAuthToken.objects.get_or_create(credential=credential)[0]
        OAuthToken.objects.filter(pk=token.pk).update(
            access_token=granted.access_token,
            refresh_token=granted.refresh_token,
            masked=masked(granted.access_token),
            expires_at=granted.expires_at,
            client_id=client_id,
            scopes=granted.scopes,
            version=token.version + 1,
            failures=0,
            failed_at=None,
            failure="",
            retry_at=None,
            needs_login=False,
        )
        CredentialStanding.objects.filter(credential=credential).update(invalid_since=None, invalid_reason="")
        Installation.announce_change()


def _missing(conf: OAuthConf) -> list[str]:
    named = {"CLAUDE_OAUTH_CLIENT_ID": conf.client_id, "CLAUDE_OAUTH_AUTHORIZE_URL": conf.authorize_url}
    return [name for name, value in named.items() if not value]


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
