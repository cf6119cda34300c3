from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.keys import KeyRing, Refused
from accounts.models import ClientKey, Domain
from accounts.register import load

Issued = tuple[ClientKey, str]


def ring() -> KeyRing:
    snapshot = load()
    return KeyRing(lambda: snapshot)


def refusal(secret: str, host: str = "claude.example.com") -> Refused:
    with pytest.raises(Refused) as raised:
        ring().authenticate(secret, host)
    assert secret not in raised.value.message
    return raised.value


@pytest.mark.parametrize(
    "host", ["claude.example.com", "CLAUDE.example.com:8443", "claude.example.com.", "10.0.0.7", ""]
)
def test_it_lets_a_good_key_in(issued: Issued, other_domain: Domain, host: str) -> None:
    key, secret = issued
    facts = ring().authenticate(secret, host)
    assert (facts.id, facts.domain.host) == (key.id, "claude.example.com")
    assert secret not in repr(facts)


def test_it_refuses_an_unknown_key(issued: Issued) -> None:
    _, secret = issued
    for wrong in (secret[:-1] + ("A" if secret[-1] != "A" else "B"), secret[:-1], secret + "A", "nxs_live_", ""):
        with pytest.raises(Refused, match="not known"):
            ring().authenticate(wrong, "claude.example.com")


def test_it_refuses_a_revoked_key(issued: Issued) -> None:
    issued[0].revoke()
    refused = refusal(issued[1])
    assert "revoked" in refused.message
    assert refused.key is not None


def test_it_refuses_an_expired_key_and_takes_one_that_is_not(issued: Issued) -> None:
    key, secret = issued
    key.expires_at = timezone.now() + timedelta(hours=1)
    key.save()
    assert ring().authenticate(secret, "").id == key.id
    key.expires_at = timezone.now() - timedelta(seconds=1)
    key.save()
    assert "expired" in refusal(secret).message


def test_it_refuses_every_key_of_a_domain_that_is_off(issued: Issued, domain: Domain) -> None:
    domain.is_active = False
    domain.save()
    assert refusal(issued[1]).forbidden


def test_it_refuses_the_host_of_another_domain(issued: Issued, other_domain: Domain) -> None:
    refused = refusal(issued[1], "other.example.com:443")
    assert refused.forbidden
    assert "other.example.com" in refused.message
