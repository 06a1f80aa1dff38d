"""HTTP/1.1 of uvicorn, with bounds that it lacks: of connections, and of time at both ends.

A working program may show the dashboard itself: other users of its machine, who can connect, must
not exhaust its file descriptors or its memory.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from argo_mw.plugin import WriteLimit

MAX_CONNECTIONS: Final = 200
"""Connections at the same time; any other is closed at once."""

HEADER_TIMEOUT: Final = 10.0
"""Seconds within which each request has to be complete."""

WRITE_TIMEOUT: Final = 30.0
"""Seconds within which a page has to read some of what it is sent."""


class BoundedProtocol(H11Protocol):
    """One connection."""

    _headers_due: asyncio.TimerHandle | None = None
    _taking: WriteLimit

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Close the connection at once if there are too many, else wait for a request."""
        super().connection_made(transport)
        self._taking = WriteLimit(transport, self.loop, WRITE_TIMEOUT)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._have_headers()
        self._taking.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take *data*; if the request is not complete with it, limit the time for the rest."""
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request
        if not (cycle is None or cycle.response_complete):
            self._have_headers()
        elif self._headers_due is None and not self.transport.is_closing():
            self._await_headers()

    def pause_writing(self) -> None:
        """Send no more until the page has read some of what it was sent."""
        super().pause_writing()
        self._taking.start()

    def resume_writing(self) -> None:
        """Go on to send."""
        self._taking.stop()
        super().resume_writing()

    def _await_headers(self) -> None:
        self._headers_due = self.loop.call_later(HEADER_TIMEOUT, self.transport.abort)

    def _have_headers(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None
