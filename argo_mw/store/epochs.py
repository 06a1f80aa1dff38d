"""Epochs: notice that a shared store has lost what it counted.

A store that was flushed, removed or found damaged begins anew, and so would every quota and budget
that is counted in it. So each store has an epoch, a counter under :data:`EPOCH_KEY` that is made
with it and is remembered in the state directory of each machine. Amounts are added only while the
store is in the epoch that the process knows, in one step; a store without that epoch begins one
that says that it has lost something, and when. Periods that began before are not known since then.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from attrs import frozen

from argo_mw.base.clock import Clock
from argo_mw.base.errors import EpochChanged, SharedUnavailable
from argo_mw.store.protocol import EPOCH_KEY, Count, Shared

_FIRST: Final = 0
_LOST: Final = 1
_ACCEPTED: Final = 2
_UNITS: Final = 1024
"""How finely a millisecond is divided, so that no two epochs are alike."""
_PRECISION: Final = 0.001
_FILE: Final = "epochs.json"
_ATTEMPTS: Final = 10

LOSS: Final = (
    "it was removed, flushed or damaged, and has lost what it counted: quotas and budgets of "
    "periods that had begun by then count as used up until those end; once you know what was "
    "spent, run `argo-mw accept-loss` to count on from zero"
)
"""What a loss means, and what to do about it."""


@frozen
class Epoch:
    """A time in which a store has counted without loss.

    Attributes:
        number: The counter's value: when it began, and how.
    """

    number: int

    @property
    def began(self) -> float:
        """Seconds since the epoch at which it began."""
        return self.number // _UNITS / 1_000

    @property
    def lost(self) -> bool:
        """Whether it began because the store had lost what it counted, and nobody accepted that."""
        return self.number % 4 == _LOST

    def knows(self, began: float) -> bool:
        """Return whether counts of a period that *began* then, in seconds, are complete."""
        return not self.lost or began >= self.began + _PRECISION

    def follows(self, known: int) -> bool:
        """Return whether a store that was in the epoch *known* can be in this one.

        One that is older is a store that was put back; one that knows of no loss was begun by a
        process that had never seen the store.
        """
        return self.number == known or (self.number > known and self.number % 4 != _FIRST)


class _EpochFile:
    """The epochs that this machine has seen, by store."""

    def __init__(self, path: Path, url: str) -> None:
        self._path = path
        self._store = _digest(url)

    def read(self) -> int | None:
        """Return the number of the epoch that was seen last, or ``None``."""
        number = self._all().get(self._store)
        return number if isinstance(number, int) else None

    def write(self, number: int) -> None:
        """Remember *number*.

        Raises:
            OSError: It cannot be written.
        """
        known = {**self._all(), self._store: number}
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        new.touch(0o600)
        new.write_text(json.dumps(known))
        new.replace(self._path)

    def _all(self) -> dict[str, object]:
        try:
            known = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


class Epochs:
    """Counts in a shared store, and refuses what it may have forgotten.

    Args:
        shared: The store.
        clock: Dates a loss.
        url: The store's URL. What is kept in memory does not outlive the process, so that a restart
            is no loss.
        state_dir: Where the epoch is remembered over restarts; ``None`` for nowhere.

    Attributes:
        warn: Is called with what a loss means, whenever it is noticed.
    """

    def __init__(
        self, shared: Shared, clock: Clock, *, url: str = "memory://", state_dir: Path | None = None
    ) -> None:
        self.warn: Callable[[str], None] = lambda what: None
        self._shared = shared
        self._clock = clock
        kept = state_dir is not None and urlsplit(url).scheme != "memory"
        self._file = _EpochFile(state_dir / _FILE, url) if kept and state_dir else None
        self._epoch: Epoch | None = None
        self._finding: asyncio.Lock = asyncio.Lock()

    async def current(self) -> Epoch:
        """Return the store's epoch, as far as this process knows; :meth:`add` checks it.

        Raises:
            SharedUnavailable: The store cannot be reached, and it is not known yet.
        """
        return self._epoch or await self._find(None)

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
        epoch = await self.current()
        for _ in range(_ATTEMPTS):
            if not epoch.knows(began):
                known, epoch = epoch, await self._find(epoch)
                if epoch == known:
                    self.warn(LOSS)
                    return None
                continue  # the loss has been accepted, or there was another
            try:
                return await self._shared.add(key, amount, limit=limit, ttl=ttl, epoch=epoch.number)
            except EpochChanged:
                epoch = await self._find(epoch)
        msg = "the shared store loses what it counts again and again"
        raise SharedUnavailable(msg)

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
        number, count = await self._shared.get_many([EPOCH_KEY, key])
        epoch, known = Epoch(int(number or 0)), self._known()
        if (known is not None and not epoch.follows(known)) or not epoch.knows(began):
            return None
        return int(count or 0)

    async def give_back(self, key: str, amount: int, *, ttl: float | None = None) -> None:
        """Take *amount* off the counter at *key*, unless the store has forgotten it.

        Args:
            key: The counter's key.
            amount: What to take off.
            ttl: Seconds that the counter lives from now on; ``None`` leaves its life as it is.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        epoch = await self.current()
        try:
            await self._shared.add(key, -amount, ttl=ttl, epoch=epoch.number)
        except EpochChanged:
            await self._find(epoch)

    async def refresh(self) -> Epoch:
        """Return the epoch that the store is in now.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        return await self._find(self._epoch)

    async def accept(self) -> bool:
        """Count on from what the store knows now; return whether it had lost something.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        epoch = await self.refresh()
        if epoch.lost:
            await self._replace(epoch, _ACCEPTED, after=epoch.number)
            await self._find(epoch)
        return epoch.lost

    async def _find(self, outdated: Epoch | None) -> Epoch:
        """Return the store's epoch, not the *outdated* one; begin one where there is none."""
        async with self._finding:
            if self._epoch is not None and self._epoch != outdated:
                return self._epoch  # found while this caller waited
            known = self._known()
            epoch = await self._stored(known)
            if known is not None and not epoch.follows(known):
                await self._replace(epoch, _LOST, after=known)
                epoch = await self._stored(known)
            self._epoch = epoch
            if epoch.number != known:
                self._remember(epoch)
            return epoch

    def _known(self) -> int | None:
        if self._epoch is not None:
            return self._epoch.number
        return None if self._file is None else self._file.read()

    async def _stored(self, known: int | None) -> Epoch:
        """Return the store's epoch; begin one where there is none, after the *known* one."""
        for _ in range(_ATTEMPTS):
            number = (await self._shared.add(EPOCH_KEY, 0)).value
            if number:
                return Epoch(number)
            await self._replace(Epoch(0), _FIRST if known is None else _LOST, after=known or 0)
        msg = "the shared store loses what it counts again and again"
        raise SharedUnavailable(msg)

    async def _replace(self, epoch: Epoch, kind: int, *, after: int) -> None:
        """Begin an epoch instead of *epoch*, with a number *after*, unless another process has."""
        now = int(self._clock.time() * 1_000) * _UNITS + os.urandom(1)[0] * 4
        number = max(now, max(epoch.number, after) // 4 * 4 + 4) + kind
        with suppress(EpochChanged):
            await self._shared.add(EPOCH_KEY, number - epoch.number, epoch=epoch.number)

    def _remember(self, epoch: Epoch) -> None:
        if epoch.lost:
            self.warn(LOSS)
        if self._file is not None:
            try:
                self._file.write(epoch.number)
            except OSError as error:
                self.warn(f"a loss of what it counts cannot be noticed after a restart: {error}")


def _digest(url: str) -> str:
    """Return a name of the store at *url* that holds no secret, and none that may change."""
    parts = urlsplit(url)
    where = parts.netloc.rpartition("@")[2]
    chosen = [pair for pair in parse_qsl(parts.query) if pair[0] in ("prefix", "db")]
    text = repr((parts.scheme, where, parts.path, chosen))
    return blake2b(text.encode(), digest_size=16).hexdigest()
