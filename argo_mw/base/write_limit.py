"""The end of a connection whose other side takes nothing of what it is sent."""

from __future__ import annotations

import asyncio


class WriteLimit:
    """Ends a connection when its other side takes nothing for too long.

    For protocols of servers: start it where writing is paused, and stop it where writing goes on or
    the connection is lost.

    Args:
        transport: The connection.
        loop: Its event loop.
        seconds: For how many seconds nothing may be taken.
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
        """Wait for the other side to take something."""
        self.stop()
        self._untaken = self._transport.get_write_buffer_size()
        self._timer = self._loop.call_later(self._seconds, self._look)

    def stop(self) -> None:
        """Wait no more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        if self._transport.get_write_buffer_size() < self._untaken:
            self.start()
        else:
            self._transport.abort()  # to close it would wait for the other side to take the rest
