"""Transports of httpx2 with the chain in between."""

from __future__ import annotations

from typing import overload

import httpx2

from argo_mw import BlockingArgo
from argo_mw.plugin import Argo
from argo_mw_http.doors import BlockingDoor, Door
from argo_mw_http.libraries import Library

_LIBRARY = Library(httpx2)


@overload
def transport(
    argo: Argo, *, inner: httpx2.AsyncBaseTransport | None = None, tenant: str | None = None
) -> httpx2.AsyncBaseTransport: ...
@overload
def transport(
    argo: BlockingArgo, *, inner: httpx2.BaseTransport | None = None, tenant: str | None = None
) -> httpx2.BaseTransport: ...
def transport(
    argo: Argo | BlockingArgo,
    *,
    inner: httpx2.AsyncBaseTransport | httpx2.BaseTransport | None = None,
    tenant: str | None = None,
) -> httpx2.AsyncBaseTransport | httpx2.BaseTransport:
    """Put the chain into a client that takes a transport of httpx2.

    ::

        client = httpx2.AsyncClient(transport=transport(argo))

    Requests that belong to a route of ``[[plugins.http.routes]]`` pass the chain, all others go
    straight to *inner*.

    Args:
        argo: An open application; a :class:`~argo_mw.BlockingArgo` for a synchronous client.
        inner: The transport that sends; by default httpx2's own.
        tenant: The tenant of the calls; by default that of the upstream or wrapped function that
            uses the client, else the configured one.

    Raises:
        TypeError: *argo* and *inner* are not both synchronous or both asynchronous, or *inner* is
            of another library.
    """
    # Some transports serve clients of both kinds.
    if isinstance(argo, BlockingArgo):
        inner = httpx2.HTTPTransport() if inner is None else inner
        if not isinstance(inner, httpx2.BaseTransport):
            msg = "inner is no httpx2.BaseTransport, which a client with a BlockingArgo needs"
            raise TypeError(msg)
        return BlockingHttpTransport(argo, inner, tenant)
    inner = httpx2.AsyncHTTPTransport() if inner is None else inner
    if not isinstance(inner, httpx2.AsyncBaseTransport):
        msg = "inner is no httpx2.AsyncBaseTransport, which an asynchronous client needs"
        raise TypeError(msg)
    return HttpTransport(argo, inner, tenant)


class HttpTransport(httpx2.AsyncBaseTransport):
    """Sends requests of routes through the chain, and everything else straight on."""

    def __init__(self, argo: Argo, inner: httpx2.AsyncBaseTransport, tenant: str | None) -> None:
        self._door = Door(argo, _LIBRARY, inner, tenant)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the response to *request*."""
        response: httpx2.Response = await self._door.answer(request)
        return response

    async def aclose(self) -> None:
        """Close what sends."""
        await self._door.aclose()


class BlockingHttpTransport(httpx2.BaseTransport):
    """Like :class:`HttpTransport`, for synchronous clients."""

    def __init__(self, argo: BlockingArgo, inner: httpx2.BaseTransport, tenant: str | None) -> None:
        self._door = BlockingDoor(argo, _LIBRARY, inner, tenant)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the response to *request*."""
        response: httpx2.Response = self._door.answer(request)
        return response

    def close(self) -> None:
        """Close what sends."""
        self._door.close()
