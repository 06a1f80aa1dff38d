"""The epochs of one part of a shared store: notice that it has lost what it counted.

A store that was flushed, removed or found damaged begins anew, and so would every quota and budget
that is counted in it. So each store has an epoch, a counter under :data:`EPOCH_KEY` that is made
with it and is remembered in the state directory of each machine. Amounts are added only while the
store is in the epoch that the process knows, in one step; a store without that epoch begins one
that says that it has lost something, and when. Periods that began before are not known since then.

An older copy of a store has its epoch too. So each machine is a witness: the store counts what the
machine adds, in the same step, and refuses it once it knows of less than the machine does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from attrs import evolve

from argo_mw.base.clock import Clock
from argo_mw.base.errors import Closed, EpochChanged, SharedUnavailable
from argo_mw.store.epochs.epoch import ACCEPTED, FIRST, LOST, REBUILT, Epoch, next_epoch
from argo_mw.store.epochs.marks import Mark, MarkFile, new_witness, next_witness
from argo_mw.store.epochs.rebuild import Rebuild, Takeovers
from argo_mw.store.protocol import WITNESS_TTL, Count, Shared, Witness, epoch_key

_ATTEMPTS: Final = 10
_WRITE_AFTER: Final = 0.05
"""Seconds after which what was counted is remembered on disk, together with all since."""
_BELIEVED: Final = WITNESS_TTL * 2 / 3
"""Seconds for which a mark is believed: before the store forgets the counter that it speaks of."""

LOSS: Final = (
    "it was removed, flushed, damaged or put back, and has lost what it counted: quotas and "
    "budgets of periods that had begun by then count as used up until those end; once you know "
    "what was spent, run `argo-mw accept-loss` to count on from zero"
)
"""What a loss means, and what to do about it."""

_REBUILDING: Final = (
    "a copy has taken over that lacks what was counted last: quotas and budgets are refused until "
    "every process that has counted within two minutes before has added its part again; if one of "
    "them is gone for good, until their periods end or you run `argo-mw accept-loss`"
)


class PartEpochs:
    """Counts in one part of a shared store, and refuses what that may have forgotten.

    Args:
        shared: The store.
        clock: Dates a loss.
        part: The part's name, "" for the whole of a store that has no parts.
        url: The store's URL. What is kept in memory does not outlive the process, so that a restart
            is no loss.
        state_dir: Where the epoch is remembered over restarts; ``None`` for nowhere.
        warn: Is called with what a loss means, whenever it is noticed.
        takeovers: When copies of the store took over; ``None`` where there are none.
    """

    def __init__(
        self,
        shared: Shared,
        clock: Clock,
        part: str,
        *,
        url: str,
        state_dir: Path | None,
        warn: Callable[[str], None],
        takeovers: Takeovers | None = None,
    ) -> None:
        self._warn = warn
        self._shared = shared
        self._clock = clock
        self._part = part
        self._key = epoch_key(part)
        self._kept = urlsplit(url).scheme != "memory"
        self._file = MarkFile(state_dir, url, part) if self._kept and state_dir else None
        self._rebuild = None if takeovers is None else Rebuild(shared, clock, part, takeovers)
        self._epoch: Epoch | None = None
        self._mark: Mark | None = None
        self._openings = 0
        self._finding: asyncio.Lock = asyncio.Lock()
        self._due: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[Mark] | None = None

    @property
    def known(self) -> Epoch | None:
        """The epoch that was found last, which the last addition was made in; ``None`` before."""
        return self._epoch

    async def current(self) -> Epoch:
        """Return the store's epoch, as far as this process knows; :meth:`add` checks it.

        Raises:
            SharedUnavailable: The store cannot be reached, and it is not known yet.
        """
        if self._epoch is None or self._openings != self._opened():
            return await self._find(None)
        return self._epoch

    async def add(
        self,
        key: str,
        amount: int = 1,
        *,
        began: float,
        limit: int | None = None,
        ttl: float | None = None,
    ) -> Count | None:
        """See :meth:`argo_mw.store.Epochs.add`."""
        if self._rebuild is not None:
            await self._rebuild.takeovers.settle()
        epoch = await self.current()
        for _ in range(_ATTEMPTS):
            if not epoch.knows(began):
                known, epoch = epoch, await self._find(epoch)
                if epoch == known:
                    self._warn(LOSS if self._rebuild is None else _REBUILDING)
                    return None
                continue  # the loss is over, or there was another
            try:
                count = await self._add(epoch, key, amount, limit, ttl)
            except EpochChanged:
                epoch = await self._find(epoch)
            else:
                if count is not None:
                    return count
                epoch = await self._find(epoch)
        msg = "the shared store loses what it counts again and again"
        raise SharedUnavailable(msg)

    async def _add(
        self, epoch: Epoch, key: str, amount: int, limit: int | None, ttl: float | None
    ) -> Count | None:
        """Add *amount* in *epoch*; return ``None`` if a loss since then may have taken it.

        Raises:
            EpochChanged: The store is not in that epoch, or knows less than this machine.
        """
        rebuild = self._rebuild
        if rebuild is not None:
            await rebuild.enter(epoch.number)
        moment, witness = rebuild and rebuild.moment, self._witness()
        count = await self._shared.add(
            key, amount, limit=limit, ttl=ttl, epoch=epoch.number, witness=witness
        )
        self._note(epoch, count.witnessed)
        if rebuild is not None and witness is not None:
            if rebuild.moment != moment:
                return None
            if count.added:
                rebuild.note(witness.key, count.witnessed, key, amount, ttl)
        return count

    async def count(self, key: str, *, began: float) -> int | None:
        """See :meth:`argo_mw.store.Epochs.count`."""
        known = self._mark or self._known()
        keys = [self._key, key, *([] if known is None else [known.witness])]
        number, count, *witnessed = await self._shared.get_many(keys)
        epoch = Epoch(int(number or 0))
        held = sum(int(one or 0) for one in witnessed)
        if not self._follows(epoch, held, known) or not epoch.knows(began):
            return None
        return int(count or 0)

    async def give_back(self, key: str, amount: int, *, ttl: float | None = None) -> None:
        """See :meth:`argo_mw.store.Epochs.give_back`."""
        epoch = await self.current()
        try:
            await self.take_off(key, amount, epoch=epoch.number, ttl=ttl)
        except EpochChanged:
            await self._find(epoch)

    async def take_off(
        self, key: str, amount: int, *, epoch: int, ttl: float | None = None
    ) -> Count | None:
        """See :meth:`argo_mw.store.Epochs.take_off`."""
        rebuild = self._rebuild
        if rebuild is None:
            return await self._shared.add(key, -amount, ttl=ttl, epoch=epoch)
        now = await self.current()
        if not rebuild.holds(epoch):
            msg = f"what was counted in epoch {epoch} of the shared store is lost"
            raise EpochChanged(msg)
        return await self._add(now, key, -amount, None, ttl)

    async def watch(self) -> None:
        """Add again what a copy lacks that has taken over, and see whether all have.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        if self._epoch is not None:
            await (self._find(self._epoch) if self._epoch.lost else self.current())

    async def refresh(self) -> Epoch:
        """Return the epoch that the store is in now.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        return await self._find(self._epoch)

    async def accept(self) -> bool:
        """Accept what the store holds and count on from there; return whether it had lost some.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        epoch = await self.refresh()
        if epoch.lost:
            await self._replace(epoch, ACCEPTED, after=epoch.number)
            await self._find(epoch)
        return epoch.lost

    async def aclose(self) -> None:
        """Remember what was counted last. Idempotent."""
        if self._rebuild is not None and self._mark is not None:
            with suppress(SharedUnavailable, Closed):
                await self._rebuild.leave(self._mark.witness)
        if self._writing is not None:
            await asyncio.wait([self._writing])
        if self._due is not None:
            self._due.cancel()
            self._write()
        if self._writing is not None:
            await asyncio.wait([self._writing])

    async def _find(self, outdated: Epoch | None) -> Epoch:
        """Return the store's epoch, not the *outdated* one; begin one where there is none."""
        async with self._finding:
            openings = self._opened()
            if self._epoch not in (None, outdated) and self._openings == openings:
                assert self._epoch is not None
                return self._epoch  # found while this caller waited
            known = self._known()
            epoch = await self._stored(known)
            if not self._follows(epoch, await self._witnessed(known), known):
                await self._replace(epoch, LOST, after=known.epoch if known is not None else 0)
                epoch = await self._stored(known)
            self._remember(epoch, known)
            if self._rebuild is not None and await self._carry(self._rebuild, epoch):
                await self._replace(epoch, REBUILT, after=epoch.number)
                epoch = await self._stored(self._mark)
                self._remember(epoch, self._mark)
                await self._carry(self._rebuild, epoch)
            self._epoch, self._openings = epoch, openings
            return epoch

    async def _carry(self, rebuild: Rebuild, epoch: Epoch) -> bool:
        """Carry what this process has added into *epoch*; return whether nothing is lost."""
        assert self._mark is not None
        return await rebuild.carry(
            epoch.number, self._mark.witness, lost=epoch.lost, began=epoch.began
        )

    def _opened(self) -> int:
        """Return how often the store's driver has connected, where it says so."""
        openings = getattr(self._shared, "openings", 0)
        return openings if isinstance(openings, int) else 0

    # -- what this machine knows -------------------------------------------------------------

    def _known(self) -> Mark | None:
        """Return what this process has seen, and the others on this machine."""
        kept = None if self._file is None else self._file.read()
        return kept if self._mark is None else self._mark.merged(kept)

    def _follows(self, epoch: Epoch, witnessed: int, known: Mark | None) -> bool:
        """Return whether a store in *epoch* that has *witnessed* so much can be the *known* one."""
        if known is None:
            return True
        if epoch.number == known.epoch:
            return witnessed >= self._least(known)
        return epoch.follows(known.epoch)

    def _least(self, known: Mark) -> int:
        return known.count if self._clock.time() - known.at < _BELIEVED else 0

    def _witness(self) -> Witness | None:
        known = self._mark
        return (
            None if known is None or not self._kept else Witness(known.witness, self._least(known))
        )

    def _note(self, epoch: Epoch, witnessed: int) -> None:
        """Remember what the store has *witnessed* in *epoch*: at once here, on disk soon."""
        known = self._mark
        if known is None or known.epoch != epoch.number or known.count >= witnessed:
            return
        self._mark = evolve(known, count=witnessed, at=self._clock.time())
        if self._file is not None and self._due is None:
            self._due = asyncio.get_running_loop().call_later(_WRITE_AFTER, self._write)

    def _remember(self, epoch: Epoch, known: Mark | None) -> None:
        if known is not None and known.epoch == epoch.number:
            self._mark = known.merged(self._mark)
            return
        if known is None:
            witness = new_witness(self._part)
        elif self._rebuild is None:
            witness = known.witness
        else:  # so that the old one tells what was lost
            witness = next_witness(known.witness, epoch.number, self._part)
        self._mark = Mark(epoch.number, witness, 0, self._clock.time())
        if epoch.lost and self._rebuild is None:
            self._warn(LOSS)
        if self._file is not None:
            try:
                kept = self._file.write(self._mark)
            except OSError as error:
                self._warn_of(error)
            else:
                self._mark = self._mark.merged(kept)

    def _write(self) -> None:
        loop = asyncio.get_running_loop()
        if self._writing is not None:  # on a disk that is slow
            self._due = loop.call_later(_WRITE_AFTER, self._write)
            return
        self._due = None
        if self._file is not None and self._mark is not None:
            self._writing = loop.run_in_executor(None, self._file.write, self._mark)
            self._writing.add_done_callback(self._written)

    def _written(self, writing: asyncio.Future[Mark]) -> None:
        self._writing = None
        if writing.cancelled():
            return
        error = writing.exception()
        if error is not None:
            self._warn_of(error)
        elif self._mark is not None:
            self._mark = self._mark.merged(writing.result())  # others may have seen more

    def _warn_of(self, error: BaseException) -> None:
        self._warn(f"a loss of what it counts cannot be noticed after a restart: {error}")

    # -- what the store knows ----------------------------------------------------------------

    async def _witnessed(self, known: Mark | None) -> int:
        """Return how many additions of this machine the store knows of."""
        if known is None or not self._kept:
            return 0
        # By adding nothing, since what is read may come from a copy that is a little older.
        return (await self._shared.add(known.witness, 0, ttl=WITNESS_TTL)).value

    async def _stored(self, known: Mark | None) -> Epoch:
        """Return the store's epoch; begin one where there is none, after the *known* one."""
        for _ in range(_ATTEMPTS):
            number = (await self._shared.add(self._key, 0)).value
            if number:
                return Epoch(number)
            if known is None:
                await self._replace(Epoch(0), FIRST, after=0)
            else:
                await self._replace(Epoch(0), LOST, after=known.epoch)
        msg = "the shared store loses what it counts again and again"
        raise SharedUnavailable(msg)

    async def _replace(self, epoch: Epoch, kind: int, *, after: int) -> None:
        """Begin an epoch instead of *epoch*, with a number *after*, unless another process has."""
        number = next_epoch(self._clock.time(), max(epoch.number, after), kind)
        with suppress(EpochChanged):
            await self._shared.add(self._key, number - epoch.number, epoch=epoch.number)
