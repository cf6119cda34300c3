"""Workload identity federation: a platform's identity token becomes one of Anthropic's."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pytest_django import Settings

from accounts.models import Credential, Domain, OAuthToken
from accounts.oauth.conf import OAuthConf
from accounts.oauth.endpoint import TokenError
from accounts.oauth.refreshing import refresh, renew_due
from tests.oauthserver import ACCESS, OAuthServer, oauth_server

pytestmark = pytest.mark.django_db(transaction=True)
JWT = "eyJfake.eyJmYWtl.c2lnbmVk"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    return tmp_path / "secrets"


@pytest.fixture
def server(settings: Settings, folder: Path) -> Iterator[OAuthServer]:
    with oauth_server() as served:
        settings.OAUTH = OAuthConf(token_url=f"{served.url}/token", federation_dirs=(folder,))
        yield served


@pytest.fixture
def credential(domain: Domain, folder: Path) -> Credential:
    (folder / "token").write_text(f"{JWT}\n")
    return Credential.objects.create(
        domain=domain,
        name="workload",
        owner="Grace",
        kind="federation",
        federation_rule_id="fdrl_1",
        organization_id="org-1",
        workspace_id="wrkspc_1",
        assertion_file=str(folder / "token"),
    )


def test_the_token_in_the_file_is_exchanged(credential: Credential, server: OAuthServer) -> None:
    assert refresh(credential.id).access_token.startswith(ACCESS)
    (asked,) = server.asked
    assert asked["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert (asked["assertion"], asked["federation_rule_id"], asked["organization_id"]) == (JWT, "fdrl_1", "org-1")
    assert (asked["workspace_id"], "service_account_id" in asked) == ("wrkspc_1", False)
    assert asked["beta"] == "oidc-federation-2026-04-01"


def test_the_background_gets_the_first_token_too(credential: Credential, server: OAuthServer) -> None:
    assert renew_due(timedelta(minutes=5), most=10, seconds=5) == 1
    assert OAuthToken.objects.get().version == 1


def test_a_command_prints_it(credential: Credential, server: OAuthServer, settings: Settings) -> None:
    Credential.objects.update(assertion_file="")
    code = f"import os; assert not [n for n in os.environ if n.startswith('NEXUS_')]; print('{JWT}')"
    settings.OAUTH = OAuthConf(token_url=f"{server.url}/token", federation_command=(sys.executable, "-c", code))
    refresh(credential.id)
    assert server.asked[0]["assertion"] == JWT


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        ("print('no token')", "no JWT"),
        ("print('x' * 70_000)", "larger than"),
    ],
)
def test_a_command_that_fails_is_told(
    credential: Credential, server: OAuthServer, settings: Settings, code: str, word: str
) -> None:
    Credential.objects.update(assertion_file="")
    settings.OAUTH = OAuthConf(token_url=f"{server.url}/token", federation_command=(sys.executable, "-c", code))
    with pytest.raises(TokenError, match=word):
        refresh(credential.id)
    assert not server.asked


def test_no_command_and_no_file(credential: Credential, server: OAuthServer) -> None:
    Credential.objects.update(assertion_file="")
    with pytest.raises(TokenError, match="FEDERATION_COMMAND is not set"):
        refresh(credential.id)


@pytest.mark.parametrize("name", ["/etc/hostname", "{folder}/../outside", "{folder}/link", "relative/token"])
def test_no_file_outside_the_folders_is_ever_read(
    credential: Credential, server: OAuthServer, folder: Path, name: str
) -> None:
    (folder.parent / "outside").write_text(JWT)
    (folder / "link").symlink_to(folder.parent / "outside")
    Credential.objects.update(assertion_file=name.format(folder=folder))
    with pytest.raises(TokenError, match="in no folder of FEDERATION_DIRS"):
        refresh(credential.id)
    assert not server.asked


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"", "no JWT"), (b"a b.c.d", "no JWT"), (b"x" * 70_000, "larger than"), (b"\xff.\xff.\xff", "no JWT")],
)
def test_a_file_that_holds_no_token_is_told(
    credential: Credential, server: OAuthServer, folder: Path, content: bytes, word: str
) -> None:
    (folder / "token").write_bytes(content)
    with pytest.raises(TokenError, match=word):
        refresh(credential.id)


def test_a_file_that_is_not_there_is_told(credential: Credential, server: OAuthServer, folder: Path) -> None:
    (folder / "token").unlink()
    with pytest.raises(TokenError, match="no identity token at"):
        refresh(credential.id)
