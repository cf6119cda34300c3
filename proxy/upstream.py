"""The call to the Claude API: httpx's API over aiohttp. Nothing outside this module knows either of them.

aiohttp would normalise the URL, unpack answers and add headers of its own; `_Transport` keeps all of it as it came.
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

import aiohttp
import httpx
import yarl
from httpx_aiohttp import AiohttpTransport

from proxy.conf import UpstreamConf
from proxy.errors import InvalidRequest, UpstreamBroke, UpstreamSlow, UpstreamUnreachable
from proxy.patience import Patience

NO_AUTOMATIC_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
KEEP_ALIVE_SECONDS = 30
PIECE_BYTES = 256 * 1024


class Reply:
    """An answer whose head has arrived. Whoever got it closes it."""

    def __init__(self, response: httpx.Response, body: "_Body", patience: Patience, idle_seconds: float) -> None:
        self.status = response.status_code
        self.headers: list[tuple[bytes, bytes]] = response.headers.raw
        self._body = body
        self._patience = patience
        self._idle_seconds = idle_seconds

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body in the pieces in which it arrives. Raises UpstreamBroke, UpstreamSlow."""
        limit, idle_seconds, read_some = self._patience.limit, self._idle_seconds, self._body.read_some
        with upstream_errors(f"was silent for {idle_seconds:g} seconds in the middle of its answer"):
            while chunk := await limit(idle_seconds, read_some()):
                yield chunk

    def close(self) -> None:
        """Ends the connection at once if the answer is not complete; else it was given back already."""
        self._body.close()


class Upstream:
    def __init__(self, conf: UpstreamConf) -> None:
        self._conf = conf
        self._base = httpx.URL(conf.base_url)
        self._base_path = yarl.URL(conf.base_url).raw_path.rstrip("/").encode()
        self._transport: _Transport | None = None

    async def send(
        self,
        method: str,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes | AsyncIterator[bytes],
        patience: Patience,
    ) -> Reply:
        """`target` is the raw path and query. Raises UpstreamUnreachable, UpstreamSlow, UpstreamBroke."""
        if self._transport is None:
            self._transport = _Transport(self._conf)
        first_byte_seconds = self._conf.first_byte_seconds
        if not isinstance(body, bytes):
            body = _with_progress(body, patience, first_byte_seconds)
        # Given as a stream, so that httpx adds no headers for it.
        request = httpx.Request(
            method,
            self._base,
            headers=headers,
            stream=_Upload(body),
            extensions={"target": self._base_path + target},
        )
        with upstream_errors(f"did not answer within {first_byte_seconds:g} seconds"):
            response = await patience.limit(first_byte_seconds, self._transport.handle_async_request(request))
        assert isinstance(response.stream, _Body)  # noqa: S101 (for the type checker)
        return Reply(response, response.stream, patience, self._conf.idle_seconds)

    async def aclose(self) -> None:
        if self._transport is not None:
            await self._transport.aclose()


class _Transport(AiohttpTransport):
    """httpx's seam, kept to the byte: the raw request target, no automatic headers, no redirects, no cookies."""

    def __init__(self, conf: UpstreamConf) -> None:
        super().__init__(client=lambda: _session(conf))
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=conf.connect_seconds)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not isinstance(self.client, aiohttp.ClientSession):
            self.client = self.get_client()
        assert isinstance(request.stream, _Upload)  # noqa: S101 (for the type checker)
        base = request.url
        target = request.extensions["target"].decode("ascii", "surrogateescape")
        response = await self.client.request(
            request.method,
            yarl.URL(f"{base.scheme}://{base.netloc.decode()}{target}", encoded=True),
            headers=[(_text(name), _text(value)) for name, value in request.headers.raw],
            data=request.stream.data(),
            allow_redirects=False,
            timeout=self._timeout,
        )
        return httpx.Response(response.status, headers=response.raw_headers, stream=_Body(response), request=request)


def _text(raw: bytes) -> str:
    """aiohttp writes UTF-8: bytes that are none cannot go through it unchanged. Raises ValueError."""
    return raw.decode()


async def _with_progress(body: AsyncIterator[bytes], patience: Patience, seconds: float) -> AsyncIterator[bytes]:
    """The wait for the first byte begins when the last one has gone up."""
    async for chunk in body:
        yield chunk
        patience.restart(seconds)


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def read_some(self) -> bytes:
        """What has arrived, b"" at the end."""
        return await self._response.content.readany()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self.read_some():
            yield chunk

    def close(self) -> None:
        self._response.close()

    async def aclose(self) -> None:
        self.close()


class _Upload(httpx.AsyncByteStream):
    def __init__(self, body: bytes | AsyncIterator[bytes]) -> None:
        self._body = body

    def data(self) -> bytes | AsyncIterator[bytes] | None:
        """A body of zero bytes is sent as none: aiohttp would declare its length even for a GET. A large one goes in
        pieces, so that a slow connection holds one of them and not the event loop."""
        if isinstance(self._body, bytes) and len(self._body) > PIECE_BYTES:
            return _pieces(self._body)
        return self._body or None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _pieces(self._body) if isinstance(self._body, bytes) else self._body


def _session(conf: UpstreamConf) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=NO_AUTOMATIC_HEADERS,
        auto_decompress=False,
        max_line_size=64 * 1024,
        max_field_size=64 * 1024,
    )


@contextlib.contextmanager
def upstream_errors(too_slow: str) -> Iterator[None]:
    """Beyond this line there are only our own errors. The most specific kind of aiohttp's comes first."""
    try:
        yield
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise UpstreamUnreachable(
            f"The Claude API cannot be reached ({type(error).__name__}). Nexus's network or CLAUDE_API_BASE_URL "
            "is the place to look."
        ) from error
    except TimeoutError:
        raise UpstreamSlow(f"The Claude API {too_slow}.") from None
    except aiohttp.InvalidURL:
        raise InvalidRequest("The path of this request is not a valid URL.") from None
    except (aiohttp.ClientError, ConnectionError) as error:
        raise UpstreamBroke(
            f"The connection to the Claude API broke before its answer was complete ({type(error).__name__})."
        ) from error
    except ValueError as error:
        raise InvalidRequest(f"A header of this request cannot be passed on: {error}.") from None
