"""HTTP/1.1 of uvicorn over httptools, where that takes requests otherwise than RFC 9112 says."""

from __future__ import annotations

import asyncio
from collections.abc import Sized
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from argo_mw_gateway.asgi import with_path

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

_MAX_WAITING: Final = 100
"""Requests that may wait for the answers to those before them on their connection."""
_FRAMING: Final = frozenset([b"content-length", b"transfer-encoding"])


class StrictProtocol(HttpToolsProtocol):
    """The protocol of one connection.

    uvicorn takes trailers for headers, which other servers have not checked; drops the host of a
    target that names one, and what follows a ``#``; answers HTTP/1.0 as if it were 1.1; and reads
    on at each answer, however many requests wait for theirs: thousands more each time.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to read."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)

    def on_headers_complete(self) -> None:
        """Begin the request whose headers have come."""
        target = self.url
        plain = target.startswith(b"/") and b"#" not in target
        if not plain:
            self.url = with_path(target)
        super().on_headers_complete()
        if not plain:
            self.scope["raw_path"] = self.url.partition(b"?")[0]
        self.headers = _Dropped()
        if self.scope["http_version"] == "1.0":
            self.cycle.__class__ = _UntilClosed  # uvicorn names its class where it makes one
            self.cycle.waiting_for_100_continue = False
        if len(self.pipeline) > _MAX_WAITING:
            self.pipeline.clear()
            self.transport.abort()


class _Flow(FlowControl):
    """What reads no further while requests wait."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Read on, unless requests wait."""
        if not self._waiting:
            super().resume_reading()


class _Dropped(list[Any]):
    """Trailers, which nobody reads."""

    def append(self, _: object) -> None:
        """Drop it."""


class _UntilClosed(RequestResponseCycle):
    """A request of HTTP/1.0, and its answer: one without a length ends with the connection."""

    _has_length = True

    async def send(self, message: ASGISendEvent) -> None:
        """Send *message* without chunks, which HTTP/1.0 does not know."""
        if message["type"] == "http.response.start":
            self._has_length = any(name in _FRAMING for name, _ in message.get("headers", ()))
            if not self._has_length:
                self.chunked_encoding = False
        elif message["type"] == "http.response.body" and not self._has_length:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)
