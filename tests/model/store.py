"""A shared store behind a link that comes and goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, TypeVar

from argo_mw import SharedUnavailable
from argo_mw.plugin import Clock, Shared
from argo_mw.store import Count, Lease, Subscription
from argo_mw.store.memory import MemoryShared, MemoryStore

T = TypeVar("T")
State = Literal["up", "away", "slow", "late", "lost"]
STATES: tuple[State, ...] = ("up", "away", "slow", "late", "lost")
"""``away``: refuses. ``slow``: does it after a while. ``late``: does it at once, and replies after a
while. ``lost``: does it, and loses the reply."""


class Link:
    """Implements :class:`~argo_mw.plugin.Shared`: one instance's connection to the store.

    Attributes:
        state: What happens to operations from now on.
        delay: Seconds that a slow operation or a late reply takes.
        uncertain: The amounts of additions to each counter that failed, so that what the counter
            holds cannot be known.
        orphans: Leases that were granted in replies that were lost: they can only run out.
    """

    def __init__(self, store: MemoryStore, clock: Clock) -> None:
        self.state: State = "up"
        self.delay = 0.1
        self.uncertain: Counter[str] = Counter()
        self.orphans: set[str] = set()
        self._shared: Shared = MemoryShared(store, clock=clock)
        self._clock = clock
        self._gaps: list[Callable[[], None]] = []

    def turn(self, state: State) -> None:
        """Go over to *state*; messages that were missed while it was away make a gap."""
        returned = self.state == "away" and state != "away"
        self.state = state
        if returned:
            for on_gap in self._gaps:
                on_gap()

    async def _through(self, operation: Callable[[], Awaitable[T]]) -> T:
        state, delay = self.state, self.delay
        if state == "away":
            raise SharedUnavailable("the link is away")
        if state == "slow":
            await self._clock.sleep(delay)
        reply = await operation()
        if state == "late":
            await self._clock.sleep(delay)
        if state == "lost":
            raise SharedUnavailable("the reply was lost")
        return reply

    async def get(self, key: str) -> bytes | None:
        return await self._through(lambda: self._shared.get(key))

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        return await self._through(lambda: self._shared.get_many(keys))

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        await self._through(lambda: self._shared.set(key, value, ttl=ttl))

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None = None) -> None:
        await self._through(lambda: self._shared.set_many(items, ttl=ttl))

    async def delete(self, keys: Sequence[str]) -> int:
        return await self._through(lambda: self._shared.delete(keys))

    async def compare_and_set(
        self, key: str, expected: bytes | None, value: bytes, *, ttl: float | None = None
    ) -> bool:
        return await self._through(
            lambda: self._shared.compare_and_set(key, expected, value, ttl=ttl)
        )

    async def add(
        self, key: str, amount: int = 1, *, limit: int | None = None, ttl: float | None = None
    ) -> Count:
        try:
            return await self._through(lambda: self._shared.add(key, amount, limit=limit, ttl=ttl))
        except SharedUnavailable:
            self.uncertain[key] += abs(amount)
            raise

    async def acquire(self, key: str, *, ttl: float) -> Lease | None:
        if self.state == "lost":
            self.orphans.add(key)
        return await self._through(lambda: self._shared.acquire(key, ttl=ttl))

    async def renew(self, lease: Lease, *, ttl: float) -> bool:
        return await self._through(lambda: self._shared.renew(lease, ttl=ttl))

    async def release(self, lease: Lease) -> bool:
        return await self._through(lambda: self._shared.release(lease))

    async def set_fenced(
        self, key: str, value: bytes, lease: Lease, *, ttl: float | None = None
    ) -> bool:
        return await self._through(lambda: self._shared.set_fenced(key, value, lease, ttl=ttl))

    async def publish(self, channel: str, message: bytes) -> None:
        await self._through(lambda: self._shared.publish(channel, message))

    async def subscribe(
        self, channel: str, on_message: Callable[[bytes], None], on_gap: Callable[[], None]
    ) -> Subscription:
        def heard(message: bytes) -> None:
            if self.state != "away":
                on_message(message)

        self._gaps.append(on_gap)
        return await self._through(lambda: self._shared.subscribe(channel, heard, on_gap))

    async def scan(self, prefix: str) -> Sequence[str]:
        return await self._through(lambda: self._shared.scan(prefix))

    async def aclose(self) -> None:
        await self._shared.aclose()
