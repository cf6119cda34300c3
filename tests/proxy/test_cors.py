import pytest

from proxy import cors
from tests.proxy.test_choice import call

pytestmark = pytest.mark.anyio
PAGE = b"https://page.example"


@pytest.mark.parametrize(
    ("origins", "granted"),
    [(set(), None), ({"https://other.example"}, None), ({PAGE.decode()}, PAGE), ({"*"}, b"*")],
)
async def test_only_the_configured_origins_are_let_in(origins: set[str], granted: bytes | None) -> None:
    headers = dict(cors.granted(call((b"origin", PAGE)), frozenset(origins)))
    assert headers.get(b"access-control-allow-origin") == granted


async def test_what_is_no_page_gets_no_cors() -> None:
    assert cors.granted(call(), frozenset({"*"})) == ()


async def test_a_preflight_is_told_what_it_may_send() -> None:
    asked = call(
        (b"access-control-request-method", b"POST"), (b"access-control-request-headers", b"x-own"), method="OPTIONS"
    )
    assert cors.is_preflight(asked)
    assert not cors.is_preflight(call(method="OPTIONS"))
    headers = dict(cors.preflight(asked))
    assert headers[b"access-control-allow-headers"] == b"x-own"
    assert headers[b"access-control-max-age"] == b"86400"
