"""`nexus check-credentials` against the stand-in."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pytest_django import Settings

from accounts.models import Credential, Domain
from bench.standin import Standin, heads, serve_in_thread
from nexus.cli import main
from telemetry.credentials import marking
from tests.conftest import FAKE_API_KEY
from tests.services import free_port
from tests.telemetry.credentials.standings import Known

pytestmark = pytest.mark.django_db(transaction=True)
REVOKED = "sk-ant-api03-fake-revoked-credential-0001"


@pytest.fixture(scope="module")
def served() -> Iterator[Standin]:
    with serve_in_thread() as standin:
        yield standin


@pytest.fixture(autouse=True)
def known(served: Standin, settings: Settings, tmp_path: Path) -> Known:
    served.reset()
    settings.REDIS_URL, settings.NEXUS_DATA = "", tmp_path
    settings.UPSTREAM = replace(settings.UPSTREAM, base_url=served.url, default_api_key="")
    return Known(tmp_path)


@pytest.fixture
def team() -> Domain:
    return Domain.objects.create(host="claude.example.com")


def add(domain: Domain, name: str, secret: str = FAKE_API_KEY, *, is_active: bool = True) -> Credential:
    return Credential.objects.create(domain=domain, name=name, secret=secret, owner="Grace", is_active=is_active)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check-credentials", *arguments])


def test_all_that_are_switched_on_are_asked(team: Domain, known: Known, served: Standin) -> None:
    main_one = add(team, "main")
    add(team, "off", is_active=False)
    known.limit(main_one, "haiku", requests=0.8, tokens=0.25)
    said = run()
    assert said.exit_code == 0, said.output
    (line,) = said.output.splitlines()
    assert line.startswith("main of claude.example.com: ok, 200, ")
    organization = heads.organization_id(FAKE_API_KEY)
    assert line.endswith(f" ms, organization {organization}, 6 models, 25 % left of haiku tokens")
    assert len(served.recorder.exchanges) == 1


def test_one_that_is_refused_ends_it_with_1(team: Domain) -> None:
    refused = add(team, "old", REVOKED)
    add(team, "main")
    said = run()
    assert said.exit_code == 1
    lines = said.output.splitlines()
    assert lines[1].startswith("old of claude.example.com: invalid, 401, ")
    assert (
        lines[2] == "  The API does not take it (401). It says: invalid x-api-key. Paste a new key, or sign in again."
    )
    assert Credential.objects.get(id=refused.id).standing.invalid_since is not None
    assert REVOKED not in said.output


def test_one_that_is_taken_again_is_used_again(team: Domain) -> None:
    marking.mark_invalid(add(team, "main").id, "401")
    said = run("main")
    assert said.exit_code == 0
    assert ": ok, 200," in said.output


def test_one_that_cools_is_not_ok(team: Domain, known: Known) -> None:
    known.cool(add(team, "main"), "haiku")
    said = run()
    assert said.exit_code == 1
    assert ": cooling, 200," in said.output
    assert "The API has answered 429 for haiku." in said.output


def test_what_cannot_be_asked_is_not_ok(team: Domain, settings: Settings) -> None:
    settings.UPSTREAM = replace(settings.UPSTREAM, base_url=f"http://127.0.0.1:{free_port()}")
    credential = add(team, "main")
    said = run()
    assert said.exit_code == 1
    assert "main of claude.example.com: ok, but not checked, no answer\n" in said.output
    assert "cannot be reached" in said.output
    assert Credential.objects.get(id=credential.id).standing.invalid_since is None


def test_they_are_named_by_name_id_and_domain(team: Domain) -> None:
    other = Domain.objects.create(host="other.example.com")
    one = add(team, "one")
    add(other, "two", is_active=False)
    one.shared_with.add(other)
    assert [row["name"] for row in json.loads(run("two", str(one.id), "two", "--json").output)] == ["two", "one"]
    assert [row["name"] for row in json.loads(run("--domain", "Other.example.com", "--json").output)] == ["one"]
    missing = run("one", "three")
    assert (missing.exit_code, missing.output) == (2, "There is no credential three.\n")


def test_json_says_it_all(team: Domain, known: Known) -> None:
    credential = add(team, "main")
    known.limit(credential, "haiku", requests=0.8)
    (found,) = json.loads(run("--json").output)
    assert (found["id"], found["name"], found["domain"]) == (str(credential.id), "main", "claude.example.com")
    assert (found["is_ok"], found["status"], found["owner"]) == (True, "ok", "Grace")
    assert found["check"]["models"][0] == "claude-opus-4-8"
    assert found["check"]["workspace_id"].startswith("wrkspc_")
    assert [(room["family"], room["window"], room["left"]) for room in found["limits"]] == [("haiku", "requests", 0.8)]
    assert "secret" not in found
    assert FAKE_API_KEY not in json.dumps(found)


def test_the_key_of_the_environment_is_asked_too(settings: Settings) -> None:
    assert run().output.startswith("There are no credentials.")
    settings.UPSTREAM = replace(settings.UPSTREAM, default_api_key=REVOKED)
    said = run()
    assert said.exit_code == 1
    assert said.output.startswith("CLAUDE_API_KEY: refused, 401, ")
