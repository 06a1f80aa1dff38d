"""The feed: one reading every two seconds for all pages that are open, and none while none is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import msgspec

from argo_mw.plugin import ArgoError, Clock, Closed, Log, ProgramsNow, Tasks, printable, redact

log = Log("argo_mw")

PAUSE: Final = 2.0
"""Seconds between two readings."""


class Feed:
    """Reads snapshots while pages look, and sends each to all of them, as an event.

    A page that is slow gets the newest, and misses the ones between.

    Args:
        read: Returns what programs do now.
        clock: Waits between two readings.
        tasks: Owns the reading.
        left: Is called when no page has looked for a while.

    Attributes:
        read: Returns what programs do now.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[ProgramsNow]],
        clock: Clock,
        tasks: Tasks,
        left: Callable[[], None],
    ) -> None:
        self.read = read
        self._clock = clock
        self._tasks = tasks
        self._left = left
        self._viewers = 0
        self._newest = b""
        self._news = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def viewers(self) -> int:
        """How many pages look."""
        return self._viewers

    def close(self) -> None:
        """End every event stream."""
        self._closed = True
        self._news.set()

    async def events(self) -> AsyncIterator[bytes]:
        """Yield events of a stream of ``text/event-stream``, the newest known at once."""
        self._viewers += 1
        try:
            if self._reading is None:
                self._newest = b""
                self._reading = self._tasks.spawn("dashboard", self._read_on())
            if self._newest:
                yield self._newest
            while not self._closed:
                await self._news.wait()
                if self._newest and not self._closed:
                    yield self._newest
        except Closed:
            return
        finally:
            self._viewers -= 1

    async def _read_on(self) -> None:
        try:
            while self._viewers and not self._closed:
                self._newest = await self._event()
                # Pages that wait now are sent it, and then wait for the next.
                news, self._news = self._news, asyncio.Event()
                news.set()
                await self._clock.sleep(PAUSE)
        finally:
            self._reading = None
            self._left()

    async def _event(self) -> bytes:
        try:
            return b"event: snapshot\ndata: " + msgspec.json.encode(await self.read()) + b"\n\n"
        except ArgoError as error:
            # Such as: the program is still starting.
            return _trouble(str(error))
        except Exception as error:
            log.exception("the dashboard cannot read what programs do")
            return _trouble(f"{type(error).__name__}: {error}")


def _trouble(why: str) -> bytes:
    return b"event: trouble\ndata: " + msgspec.json.encode(redact(printable(why))) + b"\n\n"
