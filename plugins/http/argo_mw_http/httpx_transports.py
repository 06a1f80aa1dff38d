"""Transports of httpx with the chain in between."""

from __future__ import annotations

from typing import Final, overload

import httpx

from argo_mw import BlockingArgo
from argo_mw.plugin import Argo
from argo_mw_http.doors import Transports

_TRANSPORTS: Final = Transports(httpx)


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
    made: httpx.AsyncBaseTransport | httpx.BaseTransport = _TRANSPORTS.between(argo, inner, tenant)
    return made
