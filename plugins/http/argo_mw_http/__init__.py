"""Any HTTP API through the chain, by routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from argo_mw_http.answers import HttpAnswer
from argo_mw_http.config import HttpConfig, Route
from argo_mw_http.plugin import HttpPlugin
from argo_mw_http.routes import Match, Routes

if TYPE_CHECKING:
    from argo_mw_http.httpx_transports import httpx_transport
    from argo_mw_http.transports import transport

__all__ = [
    "HttpAnswer",
    "HttpConfig",
    "HttpPlugin",
    "Match",
    "Route",
    "Routes",
    "httpx_transport",
    "transport",
]


def __getattr__(name: str) -> object:
    # The libraries of clients are imported where one is made; httpx need not be installed.
    if name == "transport":
        from argo_mw_http.transports import transport

        return transport
    if name == "httpx_transport":
        from argo_mw_http.httpx_transports import httpx_transport

        return httpx_transport
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
