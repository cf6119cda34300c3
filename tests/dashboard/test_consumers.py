"""The socket of live pages: who may open it, what it says, and when it ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from accounts.models import Domain, Membership
from dashboard import consumers
from dashboard.consumers import SIGNED_OUT, TRY_LATER
from dashboard.routing import sockets
from telemetry.live import GROUP, MESSAGE, tick_of
from tests.dashboard.test_live import names
from tests.telemetry.facts import exchange

pytestmark = [pytest.mark.anyio, pytest.mark.django_db(transaction=True)]
HOST = b"nexus.test"


@pytest.fixture(autouse=True)
def hosts(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["nexus.test"]


@pytest.fixture
def people() -> dict[str, Any]:
    """Ada sees a.example.com; the admin sees everything."""
    first, other = (Domain.objects.create(host=f"{name}.example.com") for name in "ab")
    ada = User.objects.create_user("ada", is_staff=True)
    Membership.objects.create(user=ada, domain=first)
    found: dict[str, Any] = {"a": first, "b": other, "ada_user": ada}
    for name, user in (("ada", ada), ("admin", User.objects.create_superuser("admin"))):
        client = Client()
        client.force_login(user)
        found[name] = client.session.session_key
    return found


def socket(session: str, query: str = "", **headers: bytes) -> WebsocketCommunicator:
    given = {b"host": HOST, b"origin": b"http://nexus.test", b"cookie": f"sessionid={session}".encode()}
    given |= {name.encode(): value for name, value in headers.items()}
    return WebsocketCommunicator(sockets, f"/dashboard/live{query}", headers=list(given.items()))


@pytest.fixture
async def opened() -> AsyncIterator[list[WebsocketCommunicator]]:
    found: list[WebsocketCommunicator] = []
    yield found
    for each in found:
        await each.disconnect()


async def connect(opened: list[WebsocketCommunicator], session: str, query: str = "") -> WebsocketCommunicator:
    communicator = socket(session, query)
    assert await communicator.connect() == (True, None)
    opened.append(communicator)
    return communicator


async def told(communicator: WebsocketCommunicator, *domains: Any) -> dict[str, Any]:
    """The next tick; ticks are sent until one comes, since it begins to listen in a task."""
    message = {"type": MESSAGE, **tick_of([exchange(domain_id=domain.id) for domain in domains], names())}
    async with asyncio.timeout(5):
        while True:
            await get_channel_layer().group_send(GROUP, message)
            for _ in range(3):
                if not await communicator.receive_nothing(0.02):
                    found: dict[str, Any] = json.loads(await communicator.receive_from())
                    if found["type"] == "tick":
                        return found


async def closed(communicator: WebsocketCommunicator) -> int:
    async with asyncio.timeout(5):
        while True:
            message = await communicator.receive_output(5)
            if message["type"] == "websocket.close":
                return int(message["code"])


async def test_it_tells_what_one_may_see(people: dict[str, Any], opened: list[WebsocketCommunicator]) -> None:
    ada, admin = await connect(opened, people["ada"]), await connect(opened, people["admin"])
    everything = await told(admin, people["a"], people["b"])
    assert (everything["sums"]["requests"], everything["rows"]) == (2, []), "rows are for those who ask for them"
    found = await told(ada, people["a"], people["b"])
    assert found["sums"]["requests"] == 1
    assert str(people["b"].id) not in json.dumps(found)


async def test_a_domain_may_be_named_and_anothers_is_none(
    people: dict[str, Any], opened: list[WebsocketCommunicator]
) -> None:
    admin = await connect(opened, people["admin"], "?domain=B.example.com:443")
    assert (await told(admin, people["a"], people["b"]))["sums"]["requests"] == 1
    ada = await connect(opened, people["ada"], "?domain=b.example.com")
    assert json.loads(await ada.receive_from()) == {"type": "connected"}
    await told(admin, people["b"])
    assert await ada.receive_nothing(0.1)


@pytest.mark.parametrize("session", ["", "unknown"])
async def test_a_stranger_is_told_to_sign_in(db: None, session: str) -> None:
    communicator = socket(session)
    await communicator.connect()
    assert await closed(communicator) == SIGNED_OUT


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": b"http://evil.example.com"},
        {"origin": b""},
        {"origin": b"null"},
        {"host": b"evil.example.com", "origin": b"http://evil.example.com"},
        {"origin": b"http://nexus.test.evil.example.com"},
    ],
)
async def test_no_other_site_may_open_it(people: dict[str, Any], headers: dict[str, bytes]) -> None:
    assert await socket(people["admin"], "", **headers).connect() == (False, 4403)


async def test_a_trusted_origin_may(people: dict[str, Any], settings: Settings) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://console.example.com"]
    communicator = socket(people["admin"], origin=b"https://console.example.com")
    assert (await communicator.connect())[0]
    await communicator.disconnect()


async def test_there_is_no_other_socket(db: None) -> None:
    headers = [(b"host", HOST), (b"origin", b"http://nexus.test")]
    assert not (await WebsocketCommunicator(sockets, "/dashboard/other", headers=headers).connect())[0]


@pytest.mark.parametrize("end", ["flush", "staff", "membership"])
async def test_it_ends_with_the_session_or_when_other_domains_are_seen(
    people: dict[str, Any], monkeypatch: pytest.MonkeyPatch, opened: list[WebsocketCommunicator], end: str
) -> None:
    monkeypatch.setattr(consumers, "CHECK_SECONDS", 0.05)
    ada = await connect(opened, people["ada"])
    await told(ada, people["a"])
    await sync_to_async(_end)(people, end)
    assert await closed(ada) == SIGNED_OUT


def _end(people: dict[str, Any], end: str) -> None:
    if end == "flush":
        from django.contrib.sessions.models import Session

        Session.objects.filter(session_key=people["ada"]).delete()
    elif end == "staff":
        User.objects.filter(username="ada").update(is_staff=False)
    else:
        Membership.objects.create(user=people["ada_user"], domain=people["b"])


async def test_a_full_process_sends_to_polling(people: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.live.WATCHERS_MAX", 0)
    communicator = socket(people["admin"])
    await communicator.connect()
    assert await closed(communicator) == TRY_LATER


async def test_what_it_is_told_changes_nothing(people: dict[str, Any], opened: list[WebsocketCommunicator]) -> None:
    ada = await connect(opened, people["ada"])
    await ada.send_to('{"domain": "b.example.com"}')
    assert (await told(ada, people["a"], people["b"]))["sums"]["requests"] == 1


async def test_a_list_gets_rows(people: dict[str, Any], opened: list[WebsocketCommunicator]) -> None:
    ada = await connect(opened, people["ada"], "?rows=1")
    (row,) = (await told(ada, people["a"], people["b"]))["rows"]
    assert row["domain_id"] == str(people["a"].id)
