"""The panels of running programs: each shows its own while a person looks, and not otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from argo_mw.base.clock import Clock, Timer
from argo_mw.base.deadline import TimeLimitExceeded, fail_at
from argo_mw.base.errors import Closed, SharedUnavailable
from argo_mw.base.log import Log
from argo_mw.base.secret import redact
from argo_mw.base.tasks import Tasks
from argo_mw.counters.published import Counters
from argo_mw.model.panel import Panel, View
from argo_mw.store.codec import Codecs
from argo_mw.store.protocol import Shared

log = Log("argo_mw")

PAUSE: Final = 2.0
"""Seconds between two publications while a person looks."""

LOOK: Final = 15.0
"""Seconds that a look lasts, unless it is renewed."""

_TTL: Final = 10.0
_READ_TIMEOUT: Final = 1.0
_STORE_TIMEOUT: Final = 2.0
_LOOKED: Final = "argo:panels:looked-at"
_OF: Final = "argo:panels:of:"


class Panels:
    """The panels of one application, and those that other instances show.

    Instances that share a store look into it once for each publication of their counters. While
    somebody looks, each publishes its panels and its counters every two seconds.
    """

    def __init__(
        self, shared: Shared, codecs: Codecs, clock: Clock, tasks: Tasks, counters: Counters
    ) -> None:
        self._shared = shared
        self._codecs = codecs
        self._clock = clock
        self._tasks = tasks
        self._counters = counters
        self._panels: dict[str, Panel] = {}
        self._timer: Timer | None = None
        self._turning = False
        self._works = False
        self._closed = False

    def offer(self, panels: Iterable[Panel]) -> None:
        """Show *panels* while somebody looks."""
        self._panels = {one.name: one for one in panels}
        self._counters.follow(self._follow)

    def close(self) -> None:
        """Show nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._closed = True  # so that a turn under way begins no further one

    @property
    def all(self) -> Mapping[str, Panel]:
        """The panels of this application, by name."""
        return self._panels

    async def look(self) -> None:
        """Have each instance show its panels for the next 15 seconds.

        Raises:
            SharedUnavailable: The shared store is away.
        """
        await self._shared.set(_LOOKED, b"1", ttl=LOOK)

    async def read_here(self, *, fleet: bool) -> dict[str, View]:
        """Return what the panels of this application show now, by name.

        One that fails or takes longer than a second shows that instead.

        Args:
            fleet: Whether those that show the same in each instance, or the others.
        """
        wanted = [one for one in self.all.values() if one.fleet == fleet]
        views = await asyncio.gather(*(self._read(one) for one in wanted))
        return {panel.name: view for panel, view in zip(wanted, views, strict=True)}

    async def read_others(self, instances: Sequence[str]) -> dict[str, dict[str, View]]:
        """Return what each of *instances* has shown last, by instance and panel.

        Raises:
            SharedUnavailable: The shared store is away.
        """
        keys = [_OF + name for name in instances]
        found: dict[str, dict[str, View]] = {}
        for name, value in zip(instances, await self._shared.get_many(keys), strict=True):
            if value is not None:
                found[name] = _views(await self._codecs.decode_off_loop(value, _OF + name))
        return found

    async def _read(self, panel: Panel) -> View:
        try:
            view = panel.read()
            if not isinstance(view, View):
                limit = self._clock.monotonic() + _READ_TIMEOUT
                view = await fail_at(_awaited(view), limit, self._clock)
            return view.bounded()
        except TimeLimitExceeded:
            return View(text=f"it takes longer than {_READ_TIMEOUT:g} s to read")
        except Exception as error:
            log.debug("a panel cannot be read", panel=panel.name, error=repr(error))
            why = redact(f"it cannot be read: {type(error).__name__}: {error}")
            return View(text=why).bounded()

    async def _follow(self) -> None:
        """Begin to publish if somebody looks; the counters were published just before."""
        if self._timer is None:
            await self._take_turn(counters=False)

    def _ring(self) -> None:
        self._timer = None
        with suppress(Closed):
            self._tasks.spawn("panels", self._take_turn(counters=True))

    async def _take_turn(self, *, counters: bool) -> None:
        if self._turning or self._closed:
            return
        self._turning = True
        try:
            looked_at = await self._is_looked_at()
            if looked_at:
                if counters:
                    await self._counters.publish()
                await self._publish()
        finally:
            self._turning = False
        if looked_at and not self._closed:
            self._timer = self._clock.call_at(self._clock.monotonic() + PAUSE, self._ring)

    async def _is_looked_at(self) -> bool:
        # A program that only shows others' panels is not listed among them.
        self._works = self._works or bool(self._counters.tallies.counts())
        if not self._works:
            return False
        limit = self._clock.monotonic() + _STORE_TIMEOUT
        try:
            return await fail_at(self._shared.get(_LOOKED), limit, self._clock) is not None
        except (SharedUnavailable, TimeLimitExceeded, Closed):
            return False

    async def _publish(self) -> None:
        views = await self.read_here(fleet=False)
        key = _OF + self._counters.instance
        limit = self._clock.monotonic() + _STORE_TIMEOUT
        try:
            plain = {name: view.as_data() for name, view in views.items()}
            data = self._codecs.encode(plain, key)
            await fail_at(self._shared.set(key, data, ttl=_TTL), limit, self._clock)
        except (SharedUnavailable, TimeLimitExceeded, Closed):
            return
        except Exception as error:
            log.warning("the panels of this instance were not published", error=str(error))


async def _awaited(view: Awaitable[View]) -> View:
    return await view


def _views(data: object) -> dict[str, View]:
    """Return the views in *data*; a view that another version has made is left out."""
    found: dict[str, View] = {}
    for name, plain in data.items() if isinstance(data, Mapping) else ():
        with suppress(ValueError):
            found[str(name)] = View.of_data(plain)
    return found
