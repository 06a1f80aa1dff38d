"""Rebuilding: what a part of a store has lost is added again by the processes that had added it.

A store that replicates late loses its last writes when a copy takes over, although they were
acknowledged. Each process keeps its additions of the last minute with their numbers: the store
counts the additions of each machine, so it tells which of them it still has. The others are added
again in the new epoch; and once everybody who has added lately has done so, nothing is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from argo_mw.base.clock import Clock
from argo_mw.store.epochs.roll import Roll
from argo_mw.store.protocol import WITNESS_TTL, Shared, Witness

_KEPT: Final = 60.0
"""Seconds for which an addition is kept; copies that are behind by more are lost."""
_MOST: Final = 10_000
_DAY: Final = 86_400.0
_REFRESHED: Final = 30.0
"""Seconds after which a process says again that it adds."""
_GRACE: Final = 1.5
"""Seconds after a copy has taken over in which nothing is added: until all have looked at it."""


class Addition(NamedTuple):
    """What was added, and how the store counts it.

    Attributes:
        witness: The counter of the machine's additions.
        number: What that held after this one.
        key: The counter that was added to.
        amount: What was added.
        ttl: The counter's time to live, in seconds.
        at: When, in monotonic seconds.
    """

    witness: str
    number: int
    key: str
    amount: int
    ttl: float | None
    at: float


class Additions:
    """The additions of this process of the last minute, at most 10,000."""

    def __init__(self) -> None:
        self._kept: deque[Addition] = deque()
        self._forgotten: dict[str, tuple[int, float]] = {}

    @property
    def witnesses(self) -> set[str]:
        """The counters by which they are numbered."""
        return {one.witness for one in self._kept} | {*self._forgotten}

    def note(self, one: Addition) -> None:
        """Keep *one*, and forget what is too old."""
        self._kept.append(one)
        while self._kept[0].at < one.at - _KEPT or len(self._kept) > _MOST:
            self._forget(self._kept.popleft())

    def last(self, witness: str) -> int:
        """Return the number of the last one by *witness*."""
        kept = [one.number for one in self._kept if one.witness == witness]
        return max([*kept, self._forgotten.get(witness, (0, 0.0))[0]])

    def knows(self, held: Mapping[str, int]) -> bool:
        """Return whether all is kept that a store lacks which has *held* so many additions."""
        return all(held[name] >= number for name, (number, _) in self._forgotten.items())

    def take_lost(self, held: Mapping[str, int]) -> deque[Addition]:
        """Return what such a store lacks, and keep only the others."""
        lost = deque(one for one in self._kept if one.number > held[one.witness])
        self._kept = deque(one for one in self._kept if one.number <= held[one.witness])
        return lost

    def put_back(self, lost: Iterable[Addition]) -> None:
        """Keep *lost* additions that could not be added again."""
        self._kept.extend(lost)

    def _forget(self, one: Addition) -> None:
        number, _ = self._forgotten.pop(one.witness, (0, 0.0))
        self._forgotten[one.witness] = (max(number, one.number), one.at)
        for name, (_, at) in [*self._forgotten.items()]:
            if at < one.at - _DAY:
                del self._forgotten[name]


class Takeovers:
    """When copies took over that may lack the last writes.

    Args:
        shared: The store, which counts them as ``takeovers``; one without that loses nothing so.
        clock: Measures how long ago that was.
    """

    def __init__(self, shared: Shared, clock: Clock) -> None:
        self._shared = shared
        self._clock = clock
        self._until = 0.0
        self._seen = self.count

    @property
    def count(self) -> int | None:
        """How many there were; ``None`` for a store that has no copies."""
        found: int | None = getattr(self._shared, "takeovers", None)
        return found

    async def settle(self) -> None:
        """Return once all who add lately have had the time to see what the last one has lost."""
        if self._seen != self.count:
            self._seen = self.count
            self._until = self._clock.monotonic() + _GRACE
        if self._until and (left := self._until - self._clock.monotonic()) > 0:
            await self._clock.sleep(left)


class Rebuild:
    """What one part of a store has lost of what this process has added, and how it is added again.

    Args:
        shared: The store.
        clock: The time.
        part: The part's name.
        takeovers: When copies took over.

    Attributes:
        takeovers: When copies took over.
    """

    def __init__(self, shared: Shared, clock: Clock, part: str, takeovers: Takeovers) -> None:
        self._turn = 0
        self._shared = shared
        self._clock = clock
        self.takeovers = takeovers
        self._roll = Roll(shared, clock, part)
        self._added = Additions()
        self._joining = asyncio.Lock()
        self._in: int | None = None
        self._carried: set[int] = set()
        # The epochs that must be carried into a lost one; None if this process cannot say so.
        self._earlier: tuple[int, ...] | None = None

    @property
    def moment(self) -> tuple[int, int | None]:
        """What changes whenever an addition that is under way may be lost, or miss a loss."""
        return self._turn, self.takeovers.count

    async def enter(self, epoch: int) -> None:
        """Return once this process is on the roll of *epoch*, and may add to it.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        await self.takeovers.settle()
        if self._roll.age(epoch) > _REFRESHED:
            async with self._joining:
                if self._roll.age(epoch) > _REFRESHED:
                    await self._roll.join(epoch)

    def note(self, witness: str, number: int, key: str, amount: int, ttl: float | None) -> None:
        """Remember what was added."""
        now = self._clock.monotonic()
        self._added.note(Addition(witness, number, key, amount, ttl, now))

    def holds(self, epoch: int) -> bool:
        """Return whether what was added in *epoch* is counted now."""
        return epoch in self._carried

    async def carry(self, epoch: int, witness: str, *, lost: bool, began: float) -> bool:
        """Add again what the store lacks in *epoch*; return whether nothing is lost any more.

        Args:
            epoch: The epoch that the store is in now.
            witness: The counter of this machine's additions in it.
            lost: Whether it began because something was lost.
            began: When it began, in seconds since the epoch.

        Raises:
            SharedUnavailable: The store cannot be reached, or has lost something again.
        """
        if epoch != self._in:
            await self._redo(epoch, witness)
        if not lost:
            self._earlier = ()
        if not lost or not self._earlier:
            return False
        if self._roll.age(epoch) > _REFRESHED:
            await self._roll.join(epoch, self._earlier)
        return not await self._roll.missing(self._earlier, epoch, began)

    async def leave(self, witness: str) -> None:
        """Leave the roll: what was added is all that this process will have added.

        Raises:
            SharedUnavailable: The store cannot be reached.
        """
        if self._in is not None:
            await self._roll.leave(self._in, witness, self._added.last(witness))

    async def _redo(self, epoch: int, witness: str) -> None:
        before, shared = self._in, self._shared
        held = {
            name: (await shared.add(name, 0, ttl=WITNESS_TTL)).value
            for name in self._added.witnesses
        }
        survives = before is not None and await self._roll.survives(before)
        # From here to the end of take_lost() nobody else runs.
        self._turn += 1
        held = {**dict.fromkeys(self._added.witnesses, 0), **held}
        knows, lost = self._added.knows(held), self._added.take_lost(held)
        try:
            while lost:
                one = lost[0]
                count = await shared.add(
                    one.key, one.amount, ttl=one.ttl, epoch=epoch, witness=Witness(witness, 0)
                )
                lost.popleft()
                self.note(witness, count.witnessed, one.key, one.amount, one.ttl)
        finally:
            self._added.put_back(lost)
        if before is None or not knows:
            self._carried = set()
        elif self._earlier is not None and survives:
            self._earlier = (*self._earlier, before)
        if before is None or not knows or not survives:
            self._earlier = None
        self._carried.add(epoch)
        self._in = epoch
