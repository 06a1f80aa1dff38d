"""What a shared store refuses, and when it works again.

A store can be away, or half there: a full Redis reads and refuses writes, a user without channels
receives no messages. Callers note here what the store refused them. A background task then
tries everything again, by doing it, until nothing is refused; callers never do. What is refused is
reported once, all of it in one text that says what it means and what to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import Context
from enum import Enum
from typing import Final

from argo_mw.base.clock import Clock
from argo_mw.base.errors import SharedUnavailable
from argo_mw.base.log import Log
from argo_mw.store.protocol import Lease, Shared

_MAX_PAUSE: Final = 1.0
PROBE: Final = "argo:probe"
"""What the keys begin with that are used to try a store."""
_FLAPPING: Final = 60.0
"""Seconds for which a store must have worked before the same refusal is reported again."""

log = Log("argo_mw")

Check = Callable[[], Awaitable[object]]
"""Does something with the store; raises ``SharedUnavailable`` when that is refused."""


class Ability(Enum):
    """Something that a store lets its users do, with the message for when it does not."""

    READ = "read"
    WRITE = "write"
    HEAR = "hear"
    """To receive messages."""
    ANNOUNCE = "announce"
    """To send messages."""
    LEASE = "lease"
    COUNT = "count"

    # Each look into the store asks what is refused; the hash of an enum's name costs 0.2 µs.
    __hash__ = object.__hash__


_MEANS: Final[Mapping[Ability, str]] = {
    Ability.READ: "until it can be used again, each process keeps answers for itself, and "
    "upstreams with quotas or budgets are refused",
    Ability.WRITE: "until it takes writes again, answers and invalidations stay in this process, "
    "and upstreams with quotas or budgets are refused",
    Ability.HEAR: "no messages arrive, so the versions of tags are read for every answer",
    Ability.ANNOUNCE: "no messages are sent, so others do not hear of invalidations made here",
    Ability.LEASE: "no leases are granted, so every process loads for itself",
    Ability.COUNT: "nothing is counted, so upstreams with quotas or budgets are refused",
}
_COVERS: Final[Mapping[Ability, frozenset[Ability]]] = {
    Ability.READ: frozenset(Ability) - {Ability.READ},
    Ability.WRITE: frozenset((Ability.LEASE, Ability.COUNT)),
}
"""The abilities whose refusal need not be reported, since it follows from that of another."""


class StoreHealth:
    """Knows what a store refuses, and tries it again in the background until it works.

    Args:
        shared: The store.
        clock: Waits between attempts.
        checks: How to try abilities other than reading, leases and counters.
        on_change: Called with an ability that is refused from now on, or works again.
        retry: Seconds between attempts; while the store answers but refuses, up to one second.

    Attributes:
        refused: Why the store refuses what it refuses.
        on_trouble: Called with what is refused, what that means and what to do.
    """

    def __init__(
        self,
        shared: Shared,
        clock: Clock,
        *,
        checks: Mapping[Ability, Check],
        on_change: Callable[[Ability], None],
        retry: float,
    ) -> None:
        self.refused: dict[Ability, str] = {}
        self.on_trouble: Callable[[str], object] = log.warning
        self._shared = shared
        self._clock = clock
        tried: dict[Ability, Check] = {
            Ability.READ: self._read,
            Ability.LEASE: self._lease,
            Ability.COUNT: self._count,
            **checks,
        }
        self._checks = {ability: tried[ability] for ability in Ability}
        self._on_change = on_change
        self._retry = retry
        self._reported: frozenset[Ability] = frozenset()
        self._well_since: float | None = None
        self._next_look = 0.0
        self._leased: Lease | None = None
        self._news = asyncio.Event()
        self._asked = False
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    @property
    def down(self) -> bool:
        """Whether the store cannot be read or not be written."""
        return Ability.READ in self.refused or Ability.WRITE in self.refused

    @property
    def trouble(self) -> str:
        """What is refused, what that means and why; empty when nothing is."""
        return "; ".join(self.troubles)

    @property
    def troubles(self) -> list[str]:
        """What is refused for one reason, what that means, and the reason: one text for each."""
        meanings: dict[str, list[str]] = {}
        for ability in Ability:
            if ability in uncovered(self.refused):
                meanings.setdefault(self.refused[ability], []).append(_MEANS[ability])
        return [f"{why} -- {'; '.join(what)}" for why, what in meanings.items()]

    def allows(self, ability: Ability) -> bool:
        """Return whether *ability* may be used, as far as is known."""
        # Nearly always nothing is refused, and the hash of an Enum takes a call of Python.
        return not self.refused or ability not in self.refused

    def failed(self, ability: Ability, error: SharedUnavailable) -> None:
        """Note that *ability* was refused with *error*, and start trying it again."""
        if ability not in self.refused:
            self._news.set()
        self._refuse(ability, error)
        self.look()

    def works(self, ability: Ability) -> None:
        """Note that *ability* was granted."""
        if self.refused.pop(ability, None) is not None:
            self._on_change(ability)
            if not self.refused:
                self._well_since = self._clock.monotonic()
                log.info("the shared store refuses nothing any more")

    def look(self) -> None:
        """Try everything, in a try that starts no earlier than now, or a while after the last one.

        For users of the store that cannot tell what a refusal means.
        """
        self._asked = True
        if not self._closed and (self._task is None or self._task.done()):
            now = self._clock.monotonic()
            pause = 0.0 if self.refused else max(0.0, self._next_look - now)
            self._next_look = now + pause + _MAX_PAUSE
            trying = self._try_until_well(pause)
            # In no caller's context: it outlives the call that was refused.
            self._task = asyncio.create_task(trying, name="argo-mw:store-health", context=Context())

    async def check(self) -> Mapping[Ability, str]:
        """Try everything once, and return why the store refuses what it refuses."""
        for ability, check in self._checks.items():
            try:
                await check()
            except SharedUnavailable as error:
                self._refuse(ability, error)
                if ability is Ability.READ:
                    break
            else:
                self.works(ability)
        return self.refused

    async def aclose(self) -> None:
        """Stop trying. Idempotent."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _refuse(self, ability: Ability, error: SharedUnavailable) -> None:
        new = ability not in self.refused
        self.refused[ability] = str(error) or "it does not say why"
        if new:
            self._on_change(ability)

    async def _try_until_well(self, pause: float) -> None:
        self._news.clear()
        if pause:
            await self._pause(pause)
        pause = self._retry
        while await self._is_unwell():
            self._report()
            await self._pause(pause)
            away = Ability.READ in self.refused
            pause = self._retry if away else min(2 * pause, max(self._retry, _MAX_PAUSE))

    async def _is_unwell(self) -> bool:
        """Return whether anything is refused, or was to be tried after its turn had gone by."""
        self._asked = False
        return bool(await self.check()) or self._asked

    async def _pause(self, seconds: float) -> None:
        """Wait for so long, or until something else is refused."""
        timer = self._clock.call_at(self._clock.monotonic() + seconds, self._news.set)
        try:
            await self._news.wait()
        finally:
            timer.cancel()
        self._news.clear()

    def _report(self) -> None:
        since = self._well_since
        stable = since is not None and self._clock.monotonic() - since >= _FLAPPING
        # A store at its limits refuses one write and takes the next; one that is away does not.
        if stable or (since is not None and Ability.READ in self.refused):
            self._reported = frozenset()
        worth_saying = uncovered(self.refused)
        if not worth_saying <= self._reported:
            self._reported |= worth_saying
            self._well_since = None
            self.on_trouble(self.trouble)

    # -- how it is tried -----------------------------------------------------------------

    async def _read(self) -> None:
        check_whole: Callable[[], object] | None = getattr(self._shared, "check_whole", None)
        if check_whole is not None:
            check_whole()
        await self._shared.get(PROBE)

    async def _lease(self) -> None:
        # One that could not be released, since the store went away in between, is released now.
        if self._leased is None:
            self._leased = await self._shared.acquire(PROBE, ttl=1.0)
        if self._leased is not None:
            await self._shared.release(self._leased)
            self._leased = None

    async def _count(self) -> None:
        await self._shared.add(f"{PROBE}:count", 0, ttl=60.0)


def uncovered(refused: Iterable[Ability]) -> frozenset[Ability]:
    """Return those of *refused* that do not follow from another one."""
    known = frozenset(refused)
    return known.difference(*(_COVERS.get(ability, frozenset()) for ability in known))
