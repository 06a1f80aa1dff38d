"""Connections to providers: kept between requests, and found at once however many there are.

httpx2's own pool examines all of its connections when a request begins and when it ends, and asks
the operating system about each idle one. With 200 idle ones that takes 3 ms for each request: a
burst opens more connections, which slow down all later requests, and a gateway never catches up.
Here each connection has a pool of its own.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import httpx2
from attrs import frozen

from argo_mw.plugin import Clock

KEPT: Final = 30.0
"""Seconds for which an idle connection is kept: a new one takes several round trips."""
_ONE: Final = httpx2.Limits(max_connections=1)

Origin = tuple[bytes, bytes]
Opened = Callable[[], Awaitable[httpx2.AsyncBaseTransport]]


@frozen
class _Idle:
    """An idle transport, and since when, in monotonic seconds."""

    transport: httpx2.AsyncBaseTransport
    since: float


class Connections(httpx2.AsyncBaseTransport):
    """Sends each request over an idle connection, or a new one.

    The connection that was used last is used next, so that those left from a burst expire.

    Args:
        clock: The clock.
        limit: The most connections; further requests wait.
        opened: Opens a transport for a single connection; by default one of httpx2.
    """

    def __init__(self, clock: Clock, limit: int, opened: Opened | None = None) -> None:
        self._clock = clock
        self._limit = limit
        self._opened = opened or _Network().opened
        self._places = asyncio.Semaphore(limit)
        self._busy: set[httpx2.AsyncBaseTransport] = set()
        self._idle: dict[Origin, deque[_Idle]] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send *request*, and return the response once its headers have arrived.

        Raises:
            PoolTimeout: No connection became free in time.
            TransportError: The request failed.
        """
        await self._take_place(request)
        try:
            origin = (request.url.raw_scheme, request.url.netloc)
            await self._drop_aged()
            transport = self._newest(origin) or await self._new()
        except BaseException:
            self._places.release()
            raise
        self._busy.add(transport)
        try:
            response = await transport.handle_async_request(request)
        except BaseException:  # a connection whose request fails is closed with it
            self._leave(transport)
            raise
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Lent(response.stream, lambda: self._take_back(origin, transport))
        return response

    async def aclose(self) -> None:
        """Close all of them."""
        while self._idle:
            await self._oldest().aclose()
        while self._busy:
            await self._busy.pop().aclose()

    async def _take_place(self, request: httpx2.Request) -> None:
        if self._places.locked():
            patience = request.extensions.get("timeout", {}).get("pool")
            try:
                async with asyncio.timeout(patience):
                    await self._places.acquire()
            except TimeoutError:
                msg = f"all {self._limit} connections to providers were taken for {patience:g} s"
                raise httpx2.PoolTimeout(msg, request=request) from None
        else:
            await self._places.acquire()

    def _leave(self, transport: httpx2.AsyncBaseTransport) -> bool:
        """Give back the place of *transport*; return ``False`` if it was closed meanwhile."""
        self._places.release()
        known = transport in self._busy
        self._busy.discard(transport)
        return known

    async def _drop_aged(self) -> None:
        aged = self._clock.monotonic() - KEPT
        while self._idle and min(idle[0].since for idle in self._idle.values()) <= aged:
            await self._oldest().aclose()

    async def _new(self) -> httpx2.AsyncBaseTransport:
        while self._idle and len(self._busy) + sum(map(len, self._idle.values())) >= self._limit:
            await self._oldest().aclose()
        return await self._opened()

    def _oldest(self) -> httpx2.AsyncBaseTransport:
        origin = min(self._idle, key=lambda origin: self._idle[origin][0].since)
        transport = self._idle[origin].popleft().transport
        if not self._idle[origin]:
            del self._idle[origin]
        return transport

    def _newest(self, origin: Origin) -> httpx2.AsyncBaseTransport | None:
        idle = self._idle.get(origin)
        if idle is None:
            return None
        transport = idle.pop().transport
        if not idle:
            del self._idle[origin]
        return transport

    def _take_back(self, origin: Origin, transport: httpx2.AsyncBaseTransport) -> None:
        if self._leave(transport):
            idle = self._idle.setdefault(origin, deque())
            idle.append(_Idle(transport, self._clock.monotonic()))


class _Network:
    """Opens transports of httpx2 with one TLS context: loading certificates takes 20 ms."""

    def __init__(self) -> None:
        self._trusted: ssl.SSLContext | None = None
        self._reading = asyncio.Lock()

    async def opened(self) -> httpx2.AsyncBaseTransport:
        """Return a transport for a single connection."""
        async with self._reading:
            if self._trusted is None:
                self._trusted = await asyncio.to_thread(httpx2.create_ssl_context)
        return httpx2.AsyncHTTPTransport(verify=self._trusted, limits=_ONE)


class _Lent(httpx2.AsyncByteStream):
    """A body that gives back its connection when it is closed."""

    def __init__(self, stream: httpx2.AsyncByteStream, give_back: Callable[[], None]) -> None:
        self._stream = stream
        self._give_back: Callable[[], None] | None = give_back

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        """Close the body."""
        give_back, self._give_back = self._give_back, None
        try:
            await self._stream.aclose()
        finally:
            if give_back is not None:
                give_back()
