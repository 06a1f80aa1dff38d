"""Trying a store again, in the background, until it can be reached."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from argo_mw.base.clock import Clock
from argo_mw.base.log import Log

log = Log("argo_mw")


class Reconnector:
    """Knows whether the store is down; while it is, tries it again and again.

    Args:
        clock: Waits between attempts.
        attempt: Tries to reach the store; returns whether it could.
        on_back: Called when the store was down and has been reached.
        retry: Seconds between attempts.

    Attributes:
        down: Whether the store could not be reached when it was last needed.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        attempt: Callable[[], Awaitable[bool]],
        on_back: Callable[[], None],
        retry: float,
    ) -> None:
        self.down = False
        self._clock = clock
        self._attempt = attempt
        self._on_back = on_back
        self._retry = retry
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    def lost(self) -> None:
        """Take into account that the store could not be reached, and begin to try again."""
        if not self.down:
            self.down = True
            log.info("shared store is unreachable: tag versions are kept locally")
        self.try_again()

    def try_again(self) -> None:
        """Begin to try, if nothing does yet."""
        if not self._closed and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._reconnect(), name="argo-mw:tag-versions-mend")

    async def aclose(self) -> None:
        """Stop trying. Idempotent."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _reconnect(self) -> None:
        while not await self._attempt():
            await self._clock.sleep(self._retry)
        if self.down:
            self.down = False
            self._on_back()
            log.info("shared store is back: what was loaded meanwhile counts as changed")
