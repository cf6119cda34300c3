"""A credential ends soon: a key or token that says when, or a sign-in that only a person can renew."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from accounts.models import Credential, OAuthToken
from telemetry.models import Limits, Severity
from telemetry.notices.finding import Finding
from telemetry.notices.rules.rule import WatchedRule


def find(now: datetime, limits: Limits) -> Iterable[Finding]:
    yield from _keys(now, limits)
    yield from _logins(now, limits)


def _keys(now: datetime, limits: Limits) -> Iterator[Finding]:
    renewable = (Credential.Kind.OAUTH, Credential.Kind.FEDERATION)
    ending = Credential.objects.filter(is_active=True, expires_at__lte=now + limits.window).exclude(kind__in=renewable)
    for credential in ending.select_related("domain").order_by("expires_at"):
        ends_at = credential.expires_at
        verb = "ends" if ends_at and ends_at > now else "ended"
        sentence = f"The credential {credential.name} {verb} on {ends_at:%Y-%m-%d at %H:%M} UTC."
        yield _finding(credential, verb, sentence, "Renew it in the admin under Credentials.", ends_at, now, limits)


def _logins(now: datetime, limits: Limits) -> Iterator[Finding]:
    tokens = OAuthToken.objects.filter(needs_login=True, credential__is_active=True)
    for token in tokens.select_related("credential__domain").order_by("expires_at"):
        ends_at = token.expires_at
        verb = "ends" if ends_at and ends_at > now else "ended"
        sentence = f"The credential {token.credential.name} needs a sign-in. {token.failure}".strip()
        yield _finding(token.credential, verb, sentence, "Sign in on its page in the admin.", ends_at, now, limits)


def _finding(
    credential: Credential,
    verb: str,
    sentence: str,
    advice: str,
    ends_at: datetime | None,
    now: datetime,
    limits: Limits,
) -> Finding:
    return Finding(
        rule=RULE.name,
        object=str(credential.id),
        label=f"Credential {credential.name} of {credential.domain.host} {verb}",
        domain_id=credential.domain_id,
        severity=limits.severity if ends_at and ends_at > now else Severity.CRITICAL,
        sentence=sentence,
        advice=advice,
        facts={"ends_at": ends_at.isoformat() if ends_at else None, "owner": credential.owner},
    )


RULE = WatchedRule(
    "credential_expiring",
    "A credential ends soon",
    Limits(window=timedelta(days=7), severity=Severity.WARNING),
    find,
    "Window: how long before its end. Critical once it has ended.",
)
