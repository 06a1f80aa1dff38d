"""HTTP: one pool of connections per vendor, and keys that exist only on the wire.

httpx2 logs every URL that it requests. The key is therefore added below it, by the transport: no
log, error or ``repr`` of this process ever holds it.
"""

from __future__ import annotations

import contextlib
import functools
import ssl
from collections.abc import Callable, Mapping
from typing import Final, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2
import msgspec
from attrs import frozen

from argo_mw.plugin import Action, InvalidAnswer, UpstreamError, is_loopback
from argo_mw_market.config import MAX_DECODED_BYTES
from argo_mw_market.encodings import TooMuch, decoded
from argo_mw_market.off_loop import MANY_BYTES, off_loop

T = TypeVar("T")
Sign = Callable[[httpx2.Request], None]

_POOL = httpx2.Limits(max_connections=64, max_keepalive_connections=64, keepalive_expiry=30.0)
# No timeout but for connecting: attempts have a deadline by the wall clock, which also holds
# against a body that trickles in.
_TIMEOUT = httpx2.Timeout(None, connect=5.0)
MALFORMED: Final = (msgspec.MsgspecError, RecursionError)
"""What a decoder raises for a body that is not what it should be, or is nested too deeply."""
_MAX_ERROR_BYTES: Final = 256 * 1024
_AGENT = "argo-mw-market/0.1"


@frozen
class HttpReply:
    """A response.

    Attributes:
        status: The HTTP status.
        headers: Its headers; names are case-insensitive.
        body: Its body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http:
    """The connections to one vendor.

    Args:
        vendor: Its name, for errors.
        url: Its base URL.
        sign: Puts the key into a request, at the last moment.
        max_decoded_bytes: Bytes of an answer at most, decompressed.

    Attributes:
        url: Its base URL.
        max_decoded_bytes: Bytes of an answer at most, decompressed.
    """

    def __init__(
        self, vendor: str, url: str, sign: Sign, max_decoded_bytes: int = MAX_DECODED_BYTES
    ) -> None:
        self._vendor = vendor
        self.url = url
        self.max_decoded_bytes = max_decoded_bytes
        self._base = httpx2.URL(url.rstrip("/"))
        self._sign = sign
        self._client: httpx2.AsyncClient | None = None
        self._under_way = 0
        self._retired = False

    async def get(
        self,
        path: str,
        parameters: Mapping[str, str | int] | None = None,
        max_bytes: int | None = None,
    ) -> HttpReply:
        """Return the reply to a GET of *path* below the base URL, whatever its status.

        Args:
            path: The path.
            parameters: Those of the query.
            max_bytes: Bytes of its body at most, decompressed; by default as many as an answer may
                have. Of an error's page only the beginning is read.

        Raises:
            UpstreamError: There was no reply, or one that is too large.
        """
        if self._client is None:
            self._client = self._open()
        self._under_way += 1
        try:
            url = f"{self._base}{path}"
            async with self._client.stream("GET", url, params=parameters) as reply:
                body = await self._body(reply, max_bytes)
        except httpx2.TransportError as error:
            failure = self._failure(error)
        except (httpx2.DecodingError, httpx2.InvalidURL) as error:
            failure = self._malformed(error)
        else:
            if body is not None:
                return HttpReply(reply.status_code, reply.headers, body)
            failure = self._too_large()
        finally:
            self._under_way -= 1
            if self._retired and not self._under_way:
                await self.aclose()
        # Outside of the handler: the error's context would hold the signed request.
        raise failure

    async def _body(self, reply: httpx2.Response, max_bytes: int | None) -> bytes | None:
        """Return the body of *reply*, decompressed; ``None`` if it is too large."""
        limit = self.max_decoded_bytes if max_bytes is None else max_bytes
        if reply.is_error:
            limit = min(limit, _MAX_ERROR_BYTES)
        # Gathered at once: a body may come in more pieces than it has kilobytes.
        body, whole = bytearray(), True
        try:
            async with contextlib.aclosing(decoded(reply, limit)) as arriving:
                async for piece in arriving:
                    body += piece
                    if len(body) > limit:
                        whole = False
                        break
        except TooMuch:
            whole = False
        return bytes(body[:limit]) if whole or reply.is_error else None

    def _too_large(self) -> UpstreamError:
        msg = (
            f"upstream {self._vendor!r} sent more than {self.max_decoded_bytes} bytes for one "
            "answer: ask for less, or raise max_decoded_bytes in [plugins.market]"
        )
        return InvalidAnswer(msg, upstream=self._vendor)

    def path_of(self, link: str) -> str:
        """Return the path below the base URL that *link* leads to, whatever host it names.

        A link to a next page is followed at the configured address only, so that the key goes
        nowhere else.
        """
        parts = urlsplit(link)
        # The slash ends the host: without one, "@elsewhere" would become a host of its own.
        path = "/" + parts.path.removeprefix(self._base.path.rstrip("/")).lstrip("/")
        return f"{path}?{parts.query}" if parts.query else path

    async def retire(self) -> None:
        """Close the connections once no request is under way, and again after any later one.

        Calls that are under way while a new client takes over still send their further pages and
        attempts through the old one.
        """
        self._retired = True
        if not self._under_way:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, which ends requests under way. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _open(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=_Signing(self.url, self._sign),
            timeout=_TIMEOUT,
            headers={"User-Agent": _AGENT, "Accept": "application/json"},
        )

    def _failure(self, error: httpx2.TransportError) -> UpstreamError:
        what = f"{type(error).__name__} {error}".strip()
        where = f"upstream {self._vendor!r}"
        if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)):
            msg = (
                f"{where} cannot be reached at {self.url} ({what}): check that it is up, the "
                f"network, and url in [plugins.market.{self._vendor}]"
            )
            return UpstreamError(msg, upstream=self._vendor)
        msg = f"{where} broke the connection off ({what})"
        return UpstreamError(msg, upstream=self._vendor, action=Action.RETRY)

    def _malformed(self, error: Exception) -> UpstreamError:
        msg = f"upstream {self._vendor!r} sent a malformed answer ({type(error).__name__} {error})"
        return InvalidAnswer(msg, upstream=self._vendor)


class _Signing(httpx2.AsyncBaseTransport):
    """Adds the key to a copy of each request, on its way to the wire."""

    def __init__(self, url: str, sign: Sign) -> None:
        self._sign = sign
        secure = url.startswith("https:")
        self._inner = httpx2.AsyncHTTPTransport(
            verify=_certificates() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            limits=_POOL,
            proxy=_proxy(url),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        signed = httpx2.Request(
            request.method, request.url, headers=request.headers, extensions=request.extensions
        )
        self._sign(signed)
        return await self._inner.handle_async_request(signed)

    async def aclose(self) -> None:
        await self._inner.aclose()


@functools.cache
def _certificates() -> ssl.SSLContext:
    # Loading the authorities takes some 20 ms: once is enough for all vendors.
    return httpx2.create_ssl_context()


def _proxy(url: str) -> str | None:
    """Return the environment's proxy for *url*; httpx2 looks it up only without a transport."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    return getproxies().get(parts.scheme)


async def decode(vendor: str, reply: HttpReply, decoder: msgspec.json.Decoder[T]) -> T:
    """Return the body of *reply*, checked against the decoder's type; a large one off the loop.

    Raises:
        InvalidAnswer: It is malformed.
    """
    try:
        return await off_loop(len(reply.body) > MANY_BYTES, decoder.decode, reply.body)
    except MALFORMED as error:
        msg = f"upstream {vendor!r} sent a malformed answer ({error})"
        raise InvalidAnswer(msg, upstream=vendor, status=reply.status) from None
