"""Who called, and what Claude is called with: `proxy.call`, `proxy.vault`."""

from typing import Any
from urllib.parse import unquote

import pytest

from accounts.facts import ClientKeyFacts, CredentialFacts, DomainFacts, Snapshot
from accounts.ids import new_id
from proxy.call import Call
from proxy.errors import InvalidRequest, NoCredential, Unauthenticated
from proxy.intake import Intake
from proxy.vault import Vault
from telemetry.credentials.board import Board
from telemetry.credentials.conf import CircuitConf, CoolingConf
from tests.drive import ScriptedClient

pytestmark = pytest.mark.anyio

KEY = b"nxs_live_" + b"k" * 43
OWN = b"sk-ant-api03-fake-own"


def call(*headers: tuple[bytes, bytes], **scope: Any) -> Call:
    base = {"method": "POST", "path": "/v1/messages", "query_string": b"", "headers": list(headers), "client": None}
    return Call(base | scope, Intake(ScriptedClient().receive, 1))


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ([(b"x-api-key", KEY)], []),
        ([(b"authorization", b"Bearer " + KEY)], []),
        ([(b"authorization", b"bearer  " + KEY + b" ")], []),
        ([(b"x-nexus-key", KEY)], []),
        ([(b"x-api-key", KEY), (b"authorization", b"Bearer " + KEY)], []),
        ([(b"x-api-key", OWN), (b"x-nexus-key", KEY)], [(b"x-api-key", OWN)]),
        ([(b"x-api-key", KEY), (b"authorization", b"Bearer " + OWN)], [(b"authorization", b"Bearer " + OWN)]),
        ([(b"x-api-key", b""), (b"authorization", b"Bearer " + KEY)], []),
    ],
)
async def test_it_finds_the_client_key_wherever_it_is(
    headers: list[tuple[bytes, bytes]], own: list[tuple[bytes, bytes]]
) -> None:
    assert call(*headers).presented() == (KEY.decode(), own)


@pytest.mark.parametrize(
    ("headers", "word"),
    [([], "No client key"), ([(b"x-api-key", b"")], "No client key"), ([(b"x-api-key", OWN)], "nxs_live_")],
)
async def test_it_says_what_is_missing(headers: list[tuple[bytes, bytes]], word: str) -> None:
    with pytest.raises(Unauthenticated, match=word) as raised:
        call(*headers).presented()
    assert OWN.decode() not in raised.value.message


async def test_the_target_is_what_stood_in_the_request_line() -> None:
    odd = call(path="/v1/files/a b", raw_path=b"/v1/files/a%20b", query_string=b"x=%41&ids[]=1")
    assert odd.target == b"/v1/files/a%20b?x=%41&ids[]=1"


def key(*, allow_passthrough: bool) -> ClientKeyFacts:
    domain = DomainFacts(new_id(), "claude.example.com", True, allow_passthrough)
    return ClientKeyFacts(new_id(), "key", domain, "digest", None, None)


OWN_HEADERS = [(b"authorization", b"Bearer sk-ant-oat01-fake-own")]
ENVIRONMENT = "sk-ant-api03-fake-environment"


def board() -> Board:
    return Board(CircuitConf(), CoolingConf())


def choose(
    who: ClientKeyFacts, *domains_own: CredentialFacts, default: str = ENVIRONMENT, own: Any = OWN_HEADERS
) -> Any:
    snapshot = Snapshot(1, "pepper", credentials={who.domain.id: domains_own} if domains_own else {})
    return Vault(default, board()).pool(snapshot, who, own)[0]


def test_the_domains_own_goes_first() -> None:
    mine = CredentialFacts(new_id(), "mine", False, "sk-ant-api03-fake-mine")
    spare = CredentialFacts(new_id(), "spare", False, "sk-ant-api03-fake-spare")
    choice = choose(key(allow_passthrough=True), mine, spare)
    assert (choice.source, choice.credential) == ("domain", mine)
    assert choice.authenticate([]) == [(b"x-api-key", b"sk-ant-api03-fake-mine")]
    assert "fake" not in repr(mine)


def test_then_the_callers_own_untouched_where_the_domain_allows_it() -> None:
    choice = choose(key(allow_passthrough=True))
    assert choice.source == "caller"
    assert choice.authenticate([(b"a", b"1")]) == [(b"a", b"1"), *OWN_HEADERS]
    assert choose(key(allow_passthrough=False)).source == "environment"
    assert choose(key(allow_passthrough=True), own=[]).source == "environment"


def test_then_the_environments() -> None:
    assert choose(key(allow_passthrough=False)).authenticate([]) == [(b"x-api-key", ENVIRONMENT.encode())]
    bearer = choose(key(allow_passthrough=False), default="sk-ant-oat01-fake-environment").authenticate([])
    assert bearer == [
        (b"anthropic-beta", b"oauth-2025-04-20"),
        (b"authorization", b"Bearer sk-ant-oat01-fake-environment"),
    ]


def test_nothing_steps_in_for_a_credential_that_is_switched_off() -> None:
    who = key(allow_passthrough=True)
    snapshot = Snapshot(1, "pepper", credentials={who.domain.id: ()})
    with pytest.raises(NoCredential, match="switched off"):
        Vault(ENVIRONMENT, board()).pool(snapshot, who, OWN_HEADERS)


@pytest.mark.parametrize(
    "raw",
    [
        "/v1/x/../messages",
        "/v1/./messages",
        "/v1//messages",
        "/v1/messages/",
        "/v1/messages%2F",
        "/v1/messages;x=1",
        "/v1/messages%20",
        "/v1/messages%00",
        "/v1/Messages",
        "/v1/%2e%2e/api",
        "/v1/../api",
        "/v1/a%5cb",
        "/v1/a%252fb",
    ],
)
async def test_a_path_that_could_be_taken_for_another_is_refused(raw: str) -> None:
    with pytest.raises(InvalidRequest):
        call(path=unquote(raw), raw_path=raw.encode()).check_path()


@pytest.mark.parametrize(
    "raw", ["/v1/messages", "/v1/files/file_01Ab.c/content", "/v1/models/claude-a@b:c~d", "/v1/x/%C3%A9"]
)
async def test_a_plain_path_is_not(raw: str) -> None:
    call(path=unquote(raw), raw_path=raw.encode()).check_path()


def test_else_it_says_where_to_add_one() -> None:
    with pytest.raises(NoCredential, match=r"claude\.example\.com.*admin"):
        choose(key(allow_passthrough=False), default="")
