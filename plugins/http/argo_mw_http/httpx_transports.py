"""Transports of httpx with the chain in between."""

from __future__ import annotations

from typing import overload

import httpx

from argo_mw import BlockingArgo
from argo_mw.plugin import Argo
from argo_mw_http.doors import BlockingDoor, Door
from argo_mw_http.libraries import Library

_LIBRARY = Library(httpx)


@overload
def httpx_transport(
    argo: Argo, *, inner: httpx.AsyncBaseTransport | None = None, tenant: str | None = None
) -> httpx.AsyncBaseTransport: ...
@overload
def httpx_transport(
    argo: BlockingArgo, *, inner: httpx.BaseTransport | None = None, tenant: str | None = None
) -> httpx.BaseTransport: ...
def httpx_transport(
    argo: Argo | BlockingArgo,
    *,
    inner: httpx.AsyncBaseTransport | httpx.BaseTransport | None = None,
    tenant: str | None = None,
) -> httpx.AsyncBaseTransport | httpx.BaseTransport:
    """Put the chain into a client that takes a transport of httpx.

    ::

        client = httpx.AsyncClient(transport=httpx_transport(argo))

    Requests that belong to a route of ``[[plugins.http.routes]]`` pass the chain, all others go
    straight to *inner*.

    Args:
        argo: An open application; a :class:`~argo_mw.BlockingArgo` for a synchronous client.
        inner: The transport that sends; by default httpx's own.
        tenant: The tenant of the calls; by default that of the upstream or wrapped function that
            uses the client, else the configured one.

    Raises:
        TypeError: *argo* and *inner* are not both synchronous or both asynchronous, or *inner* is
            of another library.
    """
    # Some transports serve clients of both kinds.
    if isinstance(argo, BlockingArgo):
        inner = httpx.HTTPTransport() if inner is None else inner
        if not isinstance(inner, httpx.BaseTransport):
            msg = "inner is no httpx.BaseTransport, which a client with a BlockingArgo needs"
            raise TypeError(msg)
        return BlockingHttpxTransport(argo, inner, tenant)
    inner = httpx.AsyncHTTPTransport() if inner is None else inner
    if not isinstance(inner, httpx.AsyncBaseTransport):
        msg = "inner is no httpx.AsyncBaseTransport, which an asynchronous client needs"
        raise TypeError(msg)
    return HttpxTransport(argo, inner, tenant)


class HttpxTransport(httpx.AsyncBaseTransport):
    """Sends requests of routes through the chain, and everything else straight on."""

    def __init__(self, argo: Argo, inner: httpx.AsyncBaseTransport, tenant: str | None) -> None:
        self._door = Door(argo, _LIBRARY, inner, tenant)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response to *request*."""
        response: httpx.Response = await self._door.answer(request)
        return response

    async def aclose(self) -> None:
        """Close what sends."""
        await self._door.aclose()


class BlockingHttpxTransport(httpx.BaseTransport):
    """Like :class:`HttpxTransport`, for synchronous clients."""

    def __init__(self, argo: BlockingArgo, inner: httpx.BaseTransport, tenant: str | None) -> None:
        self._door = BlockingDoor(argo, _LIBRARY, inner, tenant)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response to *request*."""
        response: httpx.Response = self._door.answer(request)
        return response

    def close(self) -> None:
        """Close what sends."""
        self._door.close()
