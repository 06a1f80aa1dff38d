"""The epochs of all parts of a shared store.

A store of several places, such as a cluster, loses what one of them held while the others go on. So
each of its parts has an epoch of its own, and what was counted in the others stays known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from pathlib import Path
from typing import Final

from argo_mw.base.clock import Clock
from argo_mw.base.errors import SharedUnavailable
from argo_mw.base.log import Log
from argo_mw.store.epochs.epoch import Epoch
from argo_mw.store.epochs.part import PartEpochs
from argo_mw.store.epochs.rebuild import Takeovers
from argo_mw.store.protocol import EPOCH_KEY, Count, Shared, part_of

log = Log("argo_mw")

_LOOK_EVERY: Final = 0.1
"""Seconds between two looks whether a copy has taken over, or all have added again."""


class Epochs:
    """Counts in a shared store, and refuses what it may have forgotten.

    Args:
        shared: The store.
        clock: Dates a loss.
        url: The store's URL. What is kept in memory does not outlive the process, so that a restart
            is no loss.
        state_dir: Where the epochs are remembered over restarts; ``None`` for nowhere.

    Attributes:
        warn: Is called with what a loss means, whenever it is noticed.
    """

    def __init__(
        self, shared: Shared, clock: Clock, *, url: str = "memory://", state_dir: Path | None = None
    ) -> None:
        self.warn: Callable[[str], None] = lambda what: None
        self._shared = shared
        self._clock = clock
        self._url = url
        self._state_dir = state_dir
        self._parts: dict[str, PartEpochs] = {}
        self._takeovers = Takeovers(shared, clock)
        self._watching: asyncio.Task[None] | None = None
        self._unwatched: set[PartEpochs] = set()

    def known(self, key: str) -> Epoch | None:
        """Return the epoch that *key* was added to last; ``None`` before its part was found."""
        return self._of(key).known

    async def current(self, key: str = EPOCH_KEY) -> Epoch:
        """Return the epoch of the part of *key*, as far as this process knows; :meth:`add` checks.

        Raises:
            SharedUnavailable: The store cannot be reached, and it is not known yet.
        """
        return await self._of(key).current()

    async def add(
        self,
        key: str,
        amount: int = 1,
        *,
        began: float,
        limit: int | None = None,
        ttl: float | None = None,
    ) -> Count | None:
        """Add *amount* to the counter of a period, unless it would pass *limit*.

        Args:
            key: The counter.
            amount: What to add.
            began: When the period began, in seconds since the epoch; 0.0 for one without an end.
            limit: The most that the counter may hold.
            ttl: The counter's time to live, in seconds.

        Returns:
            ``None`` when the store has lost what it counted after *began*, and nothing was added.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        if self._watching is None and self._takeovers.count is not None:
            # In no caller's context: it outlives the call that counts first.
            self._watching = asyncio.create_task(
                self._watch(), name="argo-mw:epochs", context=Context()
            )
        return await self._of(key).add(key, amount, began=began, limit=limit, ttl=ttl)

    async def count(self, key: str, *, began: float) -> int | None:
        """Return what the counter of a period holds, and change nothing.

        Args:
            key: The counter.
            began: When the period began, in seconds since the epoch; 0.0 for one without an end.

        Returns:
            ``None`` when the store has lost what it counted after *began*.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        return await self._of(key).count(key, began=began)

    async def give_back(self, key: str, amount: int, *, ttl: float | None = None) -> None:
        """Take *amount* off the counter at *key*, unless the store has forgotten it.

        Args:
            key: The counter's key.
            amount: What to take off.
            ttl: Seconds that the counter lives from now on; ``None`` leaves its life as it is.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        await self._of(key).give_back(key, amount, ttl=ttl)

    async def take_off(
        self, key: str, amount: int, *, epoch: int, ttl: float | None = None
    ) -> Count | None:
        """Take *amount* off the counter at *key*, which was added to it in *epoch*.

        Args:
            key: The counter's key.
            amount: What to take off.
            epoch: The number of the epoch, which :meth:`known` returned after the addition.
            ttl: Seconds that the counter lives from now on; ``None`` leaves its life as it is.

        Returns:
            ``None`` when a loss since then may have taken that back: too much is counted then.

        Raises:
            EpochChanged: What was counted in that epoch is lost.
            SharedUnavailable: The store cannot be reached.
        """
        return await self._of(key).take_off(key, amount, epoch=epoch, ttl=ttl)

    async def refresh(self) -> Epoch:
        """Return the epoch that the store is in now: of several, the last that follows a loss.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        found = [await part.refresh() for part in await self._all()]
        return max(found, key=lambda epoch: (epoch.lost, epoch.number))

    async def accept(self) -> bool:
        """Accept what the store holds and count on from there; return whether it had lost some.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        return any([await part.accept() for part in await self._all()])

    async def aclose(self) -> None:
        """Remember what was counted last. Idempotent."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        for part in self._parts.values():
            await part.aclose()

    async def _watch(self) -> None:
        """Add again at once, also where nobody asks now, what a copy lacks that has taken over."""
        while True:
            await self._clock.sleep(_LOOK_EVERY)
            for part in [*self._parts.values()]:
                await self._watch_part(part)

    async def _watch_part(self, part: PartEpochs) -> None:
        """Watch *part* once; an unexpected error is logged once, until a look succeeds again."""
        try:
            await part.watch()
        except SharedUnavailable:
            return  # the store's health reports it
        except Exception:
            # A watch that ended here would leave the losses of all other parts unnoticed too.
            if part not in self._unwatched:
                self._unwatched.add(part)
                log.exception("a part of the shared store cannot be watched for lost counts")
        else:
            self._unwatched.discard(part)

    def _of(self, key: str) -> PartEpochs:
        """Return the epochs of the part of *key*."""
        name = part_of(self._shared, key)
        part = self._parts.get(name)
        if part is None:
            part = self._parts[name] = PartEpochs(
                self._shared,
                self._clock,
                name,
                url=self._url,
                state_dir=self._state_dir,
                warn=self._warn,
                takeovers=None if self._takeovers.count is None else self._takeovers,
            )
        return part

    def _warn(self, what: str) -> None:
        self.warn(what)  # which may have been replaced since

    async def _all(self) -> list[PartEpochs]:
        """Return all parts in which something was ever counted, by any process."""
        if part_of(self._shared, EPOCH_KEY):
            for key in await self._shared.scan(EPOCH_KEY):
                self._of(key)
        return [*self._parts.values()] or [self._of(EPOCH_KEY)]
