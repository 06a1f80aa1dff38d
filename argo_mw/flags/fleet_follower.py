"""Following the flags of the fleet: what is set anywhere is taken up here, and remembered.

An announcement on the channel has the store read at once. Announcements may be lost, so it is read
from time to time besides; and every half a second while none can arrive, or while it cannot be
read. If the store loses flags, it gets them back from the processes that know them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from argo_mw.base.clock import Clock, Timer
from argo_mw.base.errors import Closed, ConfigError, SharedUnavailable
from argo_mw.base.tasks import Tasks
from argo_mw.flags.changes import Change
from argo_mw.flags.fleet import Fleet
from argo_mw.flags.fleet_file import FleetFile
from argo_mw.flags.fleet_store import FleetStore
from argo_mw.store.protocol import Subscription

INTERVAL: Final = 10.0
"""Seconds between two looks at the store, while announcements arrive."""

UNHEARD_INTERVAL: Final = 0.5
"""Seconds between two looks at the store, while none arrive or it cannot be read."""


class FleetFollower:
    """Knows the flags of the fleet.

    Args:
        store: Where they are.
        file: Where they are remembered.
        clock: Waits between looks at the store.
        tasks: Own the looks.
        take_up: Is awaited whenever something may have changed.
        report: Is called with what is wrong, each time.

    Attributes:
        known: What the fleet has set, as far as it is known here.
        unheard: Why the store could not be read when it was last asked, so that *known* is how
            things were, and not how they are; or "".
    """

    def __init__(
        self,
        store: FleetStore,
        file: FleetFile,
        clock: Clock,
        tasks: Tasks,
        *,
        take_up: Callable[[], Awaitable[None]],
        report: Callable[[str], object],
    ) -> None:
        self.known = Fleet()
        self.unheard = "the shared store has not been read yet"
        self._store = store
        self._file = file
        self._clock = clock
        self._tasks = tasks
        self._take_up = take_up
        self._report = report
        self._listens = False
        self._subscription: Subscription | None = None
        self._subscribe_again = 0.0
        self._timer: Timer | None = None
        self._looking: asyncio.Task[None] | None = None
        self._again = False
        self._closed = False

    async def start(self) -> None:
        """Learn what was last known and what the store holds, and begin to follow it."""
        try:
            self.known = self._file.read()
        except ConfigError as error:
            self._report(str(error))
        await self._look()
        self._wait()

    async def aclose(self) -> None:
        """Follow no more. Idempotent."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._subscription is not None:
            await self._subscription.aclose()
            self._subscription = None

    async def change(self, name: str, change: Change) -> bool:
        """Set flag *name* to what *change* makes of its rule; a caller that leaves stops nothing.

        Returns:
            Whether the change was announced; else the others read it from the store within
            :data:`INTERVAL` seconds.

        Raises:
            SharedUnavailable: The store took no change.
            ConfigError: What the store holds cannot be read.
        """
        changing = self._tasks.spawn("fleet-flags:change", self._change(name, change))
        return await asyncio.shield(changing)

    async def _change(self, name: str, change: Change) -> bool:
        self._learn(await self._store.change(self.known, name, change))
        try:
            await self._store.announce()
        except SharedUnavailable:
            return False
        return True

    def _learn(self, fleet: Fleet) -> None:
        """Merge *fleet* into what is known, and have it remembered.

        Nobody waits for the disk: all threads may be busy just when a flag is to be killed.
        """
        merged = self.known.merged(fleet)
        if merged != self.known:
            self.known = merged
            self._tasks.finish("fleet-flags:remember", self._remember(merged))

    async def _remember(self, fleet: Fleet) -> None:
        try:
            remembered = await asyncio.to_thread(self._file.remember, fleet)
        except (OSError, ConfigError) as error:
            self._report(f"the flags of the fleet are lost with this process: {error}")
        else:
            self.known = self.known.merged(remembered)

    # -- looking at the store ------------------------------------------------------------

    def _news(self) -> None:
        """Look at the store now, or once more if that is under way."""
        self._again = True
        if self._closed or (self._looking is not None and not self._looking.done()):
            return
        if self._timer is not None:
            self._timer.cancel()
        with suppress(Closed):
            self._looking = self._tasks.spawn("fleet-flags", self._look_and_take_up())

    async def _look_and_take_up(self) -> None:
        try:
            while self._again:
                self._again = False
                await self._look()
                await self._take_up()
        finally:
            self._wait()

    async def _look(self) -> None:
        try:
            stored = await self._store.read()
            if await self._begin_to_listen():
                stored = await self._store.read()  # what was announced until now was not heard
        except SharedUnavailable as error:
            self.unheard = str(error)
        except ConfigError as error:
            self.unheard = str(error)
            self._report(str(error))
        else:
            self.unheard = ""
            self._learn(stored.fleet)
            if self.known != stored.fleet:
                with suppress(SharedUnavailable):
                    await self._store.put_back(stored, self.known)

    def _wait(self) -> None:
        if not self._closed:
            seconds = INTERVAL if self._listens and not self.unheard else UNHEARD_INTERVAL
            self._timer = self._clock.call_at(self._clock.monotonic() + seconds, self._news)

    # -- the channel -----------------------------------------------------------------------

    async def _begin_to_listen(self) -> bool:
        """Subscribe, unless that is done or was refused a moment ago; return whether it worked."""
        now = self._clock.monotonic()
        if self._subscription is not None or self._closed or now < self._subscribe_again:
            return False
        # A store that refuses subscriptions logs each attempt, so between attempts it is only read.
        self._subscribe_again = now + INTERVAL
        with suppress(SharedUnavailable):
            self._subscription = await self._store.subscribe(
                self._news, self._heard_again, self._lost
            )
            self._listens = True
        return self._listens

    def _heard_again(self) -> None:
        self._listens = True
        self._news()

    def _lost(self) -> None:
        self._listens = False
        self._news()
