"""Ending a connection whose peer reads nothing of what it is sent."""

from __future__ import annotations

import asyncio


class WriteLimit:
    """Ends a connection when its peer reads nothing for too long.

    For server protocols: start it when writing is paused, and stop it when writing resumes or the
    connection is lost.

    Args:
        transport: The connection.
        loop: Its event loop.
        seconds: Seconds for which the peer may read nothing.
    """

    def __init__(
        self, transport: asyncio.WriteTransport, loop: asyncio.AbstractEventLoop, seconds: float
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._seconds = seconds
        self._untaken = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start waiting for the peer to read something."""
        self.stop()
        self._untaken = self._transport.get_write_buffer_size()
        self._timer = self._loop.call_later(self._seconds, self._look)

    def stop(self) -> None:
        """Stop waiting. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        if self._transport.get_write_buffer_size() < self._untaken:
            self.start()
        else:
            self._transport.abort()  # closing it would wait for the peer to read the rest
