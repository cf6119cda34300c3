import pytest
from django.core.exceptions import ValidationError

from accounts.models import ClientKey, Credential, Domain
from tests.conftest import FAKE_API_KEY


def test_a_key_is_shown_once_and_stored_as_its_hmac(issued: tuple[ClientKey, str]) -> None:
    key, secret = issued
    assert secret.startswith("nxs_live_")
    assert len(secret) == len("nxs_live_") + 43
    stored = ClientKey.objects.values().get(id=key.id)
    assert secret not in str(stored)
    assert str(key) == f"Ada's laptop (nxs_live_…{secret[-4:]})"


def test_revoking_twice_keeps_the_first_time(issued: tuple[ClientKey, str]) -> None:
    key, _ = issued
    assert key.state == "active"
    key.revoke()
    first = key.revoked_at
    key.revoke()
    assert (key.state, key.revoked_at) == ("revoked", first)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "short",
        FAKE_API_KEY + "\n",
        " " + FAKE_API_KEY,
        f"{FAKE_API_KEY} {FAKE_API_KEY}",
        "sk-ant-äöü-0123456789",
        "nxs_live_" + "A" * 43,
    ],
)
def test_it_refuses_what_is_no_upstream_secret(domain: Domain, secret: str) -> None:
    with pytest.raises(ValidationError):
        Credential(domain=domain, name="x", secret=secret).full_clean()


def test_an_oauth_token_is_no_api_key(domain: Domain) -> None:
    token = "sk-ant-oat01-fake-token-0001"
    with pytest.raises(ValidationError, match="bearer token"):
        Credential(domain=domain, name="x", secret=token).full_clean()
    Credential(domain=domain, name="x", owner="Grace", secret=token, kind="bearer").full_clean()


def test_a_secret_is_shown_by_its_end_and_known_by_its_fingerprint(
    credential: Credential, other_domain: Domain
) -> None:
    assert credential.masked == "sk-ant-api03-…0001"
    same = Credential.objects.create(domain=other_domain, name="same", secret=FAKE_API_KEY)
    assert same.fingerprint == credential.fingerprint
    credential.secret = "sk-ant-api03-fake-credential-0002"
    credential.save(update_fields=["secret"])
    credential.refresh_from_db()
    assert (credential.masked[-4:], credential.fingerprint == same.fingerprint) == ("0002", False)
