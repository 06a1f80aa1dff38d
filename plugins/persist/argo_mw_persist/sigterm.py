"""Write what is queued before SIGTERM ends the process, unless the program handles it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable


class SigtermHandler:
    """Runs *last* once when SIGTERM arrives, then lets the signal end the process.

    Does nothing if the program has a handler of its own, outside the main thread, or if the loop
    cannot handle signals.
    """

    def __init__(self, last: Callable[[], Awaitable[None]]) -> None:
        self._last = last
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """Start handling the signal, on the running loop."""
        if threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return
        loop = asyncio.get_running_loop()
        try:
            loop.add_signal_handler(signal.SIGTERM, self._arrived)
        except NotImplementedError:
            return
        self._loop = loop

    def unwatch(self) -> None:
        """Restore the signal's previous handling."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.remove_signal_handler(signal.SIGTERM)

    def _arrived(self) -> None:
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(), name="argo-mw:persist:sigterm")

    async def _end(self) -> None:
        try:
            await self._last()
        finally:
            self.unwatch()
            os.kill(os.getpid(), signal.SIGTERM)
