import re

import pytest
from cryptography.fernet import Fernet
from django.contrib.sessions.models import Session
from django.test import Client
from pytest_django import Settings

from accounts.models import ClientKey, Credential, Domain
from accounts.register import load
from tests.conftest import FAKE_API_KEY, POOLED
from tests.telemetry.facts import stored_exchange

CREDENTIAL = "/admin/accounts/credential/"


def test_a_stranger_sees_the_login_page_only(client: Client, credential: Credential) -> None:
    for path in ("", "accounts/clientkey/", "accounts/credential/", "accounts/domain/", "telemetry/exchangerow/"):
        assert client.get(f"/admin/{path}")["location"].startswith("/admin/login/")


def test_a_new_key_is_shown_exactly_once(admin_client: Client, domain: Domain) -> None:
    form = {"domain": str(domain.id), "name": "<b>new</b>", "expires_at_0": "", "expires_at_1": "", "weight": "1"}
    shown = admin_client.post("/admin/accounts/clientkey/add/", form, follow=True).content.decode()
    (secret,) = set(re.findall(r"nxs_live_[\w-]{43}", shown))
    assert "<b>new</b>" not in shown
    for line in ("curl http://", "ANTHROPIC_AUTH_TOKEN=", "anthropic.Anthropic(base_url=", "new Anthropic("):
        assert line in shown.replace("&quot;", '"')
    assert not [each for each in Session.objects.all() if secret in str(each.get_decoded())]
    assert load().keys_by_prefix[secret[:17]][0].name == "<b>new</b>"
    key = ClientKey.objects.get()
    for path in ("", f"{key.id}/change/"):
        assert secret not in admin_client.get(f"/admin/accounts/clientkey/{path}").content.decode()


def test_changing_a_key_changes_its_name_and_not_its_secret(
    admin_client: Client, issued: tuple[ClientKey, str]
) -> None:
    key, _ = issued
    form = {"name": "renamed", "expires_at_0": "", "expires_at_1": "", "weight": "1"}
    admin_client.post(f"/admin/accounts/clientkey/{key.id}/change/", form)
    assert ClientKey.objects.get(id=key.id).name == "renamed"
    assert ClientKey.objects.get(id=key.id).digest == key.digest


def test_keys_are_revoked_by_an_action(admin_client: Client, issued: tuple[ClientKey, str]) -> None:
    key, _ = issued
    form = {"action": "revoke", "_selected_action": [str(key.id)]}
    asked = admin_client.post("/admin/accounts/clientkey/", form).content.decode()
    assert "Revoke the client key" in asked
    assert "Requests in the last 24 hours" in asked
    assert ClientKey.objects.get(id=key.id).state == "active", "not before somebody has confirmed it"
    admin_client.post("/admin/accounts/clientkey/", form | {"confirmed": "yes"})
    assert ClientKey.objects.get(id=key.id).state == "revoked"


def test_a_credential_goes_in_and_never_comes_out(admin_client: Client, domain: Domain) -> None:
    form = {
        "domain": str(domain.id),
        "name": "c",
        "kind": "api_key",
        "priority": "0",
        **POOLED,
        "secret": f" {FAKE_API_KEY} ",
    }
    form["is_active"] = "on"
    admin_client.post(f"{CREDENTIAL}add/", form)
    credential = Credential.objects.get()
    assert credential.secret == FAKE_API_KEY
    for path in ("", f"{credential.id}/change/", f"{credential.id}/history/"):
        page = admin_client.get(f"{CREDENTIAL}{path}").content.decode()
        assert FAKE_API_KEY not in page
        assert credential.masked in page or "history" in path


def test_an_empty_secret_keeps_the_stored_one(admin_client: Client, credential: Credential) -> None:
    form = {
        "domain": str(credential.domain_id),
        "name": "renamed",
        "kind": "api_key",
        "priority": "3",
        **POOLED,
        "secret": "",
    }
    admin_client.post(f"{CREDENTIAL}{credential.id}/change/", form)
    credential.refresh_from_db()
    assert (credential.name, credential.secret, credential.is_active) == ("renamed", FAKE_API_KEY, False)


@pytest.mark.parametrize("secret", ["", "tiny", "nxs_live_" + "A" * 43, "two words are no key"])
def test_a_bad_secret_is_told_in_the_form_without_repeating_it(
    admin_client: Client, domain: Domain, secret: str
) -> None:
    form = {"domain": str(domain.id), "name": "c", "kind": "api_key", "priority": "0", **POOLED, "secret": secret}
    page = admin_client.post(f"{CREDENTIAL}add/", form).content.decode()
    assert "errorlist" in page
    assert not secret or secret not in page
    assert not Credential.objects.exists()


def test_lists_work_without_the_encryption_key(
    admin_client: Client, credential: Credential, settings: Settings
) -> None:
    settings.NEXUS_ENCRYPTION_KEYS = Fernet.generate_key().decode()
    assert admin_client.get(CREDENTIAL).status_code == 200


def test_what_the_record_refers_to_cannot_be_deleted_by_mistake(admin_client: Client, domain: Domain) -> None:
    stored_exchange(domain_id=domain.id)
    page = admin_client.post(f"/admin/accounts/domain/{domain.id}/delete/", {"post": "yes"}).content.decode()
    assert "Cannot delete domain" in page
    assert Domain.objects.filter(id=domain.id).exists()
