"""Transports of httpx2 with the chain in between."""

from __future__ import annotations

from typing import Final, overload

import httpx2

from argo_mw import BlockingArgo
from argo_mw.plugin import Argo
from argo_mw_http.doors import Transports

_TRANSPORTS: Final = Transports(httpx2)


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
    made: httpx2.AsyncBaseTransport | httpx2.BaseTransport = _TRANSPORTS.between(
        argo, inner, tenant
    )
    return made
