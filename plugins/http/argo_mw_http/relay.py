"""The relay: sends the requests of programs that come through a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import httpx2

from argo_mw_http.answers import Headers
from argo_mw_http.exchange import Arrived
from argo_mw_http.identity import HttpRequest
from argo_mw_http.libraries import Library

_LIBRARY: Final = Library(httpx2)
_LIMITS: Final = httpx2.Limits(max_connections=1000, max_keepalive_connections=100)
_TIMEOUT: Final = {"connect": 10.0, "pool": 10.0, "read": 300.0, "write": 60.0}
_BAD_GATEWAY: Final = 502
_GATEWAY_TIMEOUT: Final = 504


async def _over_the_network() -> httpx2.AsyncBaseTransport:
    # Reading the trusted authorities takes some 20 ms.
    trusted = await asyncio.to_thread(httpx2.create_ssl_context)
    return httpx2.AsyncHTTPTransport(verify=trusted, limits=_LIMITS)


class Relay:
    """Sends requests over connections of its own, which are opened for the first of them.

    Args:
        opened: Opens what sends.
    """

    def __init__(self, opened: Callable[[], Any] = _over_the_network) -> None:
        self._opened = opened
        self._transport: httpx2.AsyncBaseTransport | None = None
        self._opening = asyncio.Lock()

    async def send(
        self, request: HttpRequest, conditions: Headers, limit: int, why: str
    ) -> Arrived[Any]:
        """Send *request*, and return what it brings; see :meth:`Library.take`."""
        async with self._opening:
            if self._transport is None:
                self._transport = await self._opened()
        raw = f"{request.path}?{request.query}" if request.query else request.path
        sent = httpx2.Request(
            request.method,
            httpx2.URL(request.address).copy_with(raw_path=raw.encode("latin-1")),
            headers=[
                (name.encode("latin-1"), value.encode("latin-1"))
                for name, value in (*request.headers, *conditions)
            ],
            content=request.body or None,
            extensions={"timeout": _TIMEOUT},
        )
        response = await self._transport.handle_async_request(sent)
        return await _LIBRARY.take(sent, response, limit, why)

    def status_of(self, error: Exception) -> int | None:
        """Return the status for a request that ended in *error*; ``None`` where that is none."""
        if isinstance(error, httpx2.TimeoutException):
            return _GATEWAY_TIMEOUT
        return _BAD_GATEWAY if isinstance(error, httpx2.TransportError) else None

    async def aclose(self) -> None:
        """Close the connections."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()
