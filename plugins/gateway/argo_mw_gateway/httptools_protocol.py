"""uvicorn's HTTP/1.1 over httptools, corrected where it departs from RFC 9112."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from argo_mw_gateway.asgi import with_path

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

_MAX_WAITING: Final = 100
"""The most requests of one connection that may wait for the answers to earlier ones."""
_FRAMING: Final = frozenset([b"content-length", b"transfer-encoding"])


class StrictProtocol(HttpToolsProtocol):
    """The protocol of one connection.

    Five habits of uvicorn are corrected. It takes trailers for headers, which other servers have
    not checked. It drops the host of a target that names one, and what follows a ``#``. It answers
    HTTP/1.0 as if it were 1.1. After each answer it reads on, thousands of requests at a time,
    however many wait for their answers. When a client leaves, it informs only the last of its
    requests, which may still wait for the first.
    """

    _answering: RequestResponseCycle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """End the request that is being answered: its client has left."""
        super().connection_lost(exc)
        answering = self._answering
        if answering is not None and not answering.response_complete:
            answering.disconnected = True
            answering.message_event.set()

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
        if not self.pipeline:
            self._answering = self.cycle
        if self.scope["http_version"] == "1.0":
            self.cycle.__class__ = _UntilClosed  # uvicorn offers no way to choose it
            self.cycle.waiting_for_100_continue = False
        if len(self.pipeline) > _MAX_WAITING:
            self.pipeline.clear()
            self.transport.abort()

    def on_response_complete(self) -> None:
        """Go on with the request that waits next."""
        self._answering = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()


class _Dropped(list[Any]):
    """Trailers, which are not read."""

    def append(self, _: object) -> None:
        """Drop it."""


class _UntilClosed(RequestResponseCycle):
    """An exchange over HTTP/1.0, where an answer without a length ends with the connection."""

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
