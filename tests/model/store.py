"""A shared store behind a link that comes and goes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

from argo_mw import SharedUnavailable
from argo_mw.plugin import Clock
from argo_mw.store import Ability, Count, Lease, Subscription
from argo_mw.store.memory import MemoryShared
from argo_mw.store.memory_store import MemoryStore
from argo_mw.testing import RefusingStore

T = TypeVar("T")
Undo: TypeAlias = Callable[[T], Coroutine[object, object, object]]
State = Literal[
    "up",
    "away",
    "slow",
    "late",
    "lost",
    "locked",
    "hung",
    "no writes",
    "no channels",
    "no messages",
]
STATES: tuple[State, ...] = (
    *("up", "away", "slow", "late", "lost"),
    *("no writes", "no channels", "no messages"),
)
"""``away``: refuses. ``slow``: does it after a while. ``late``: does it at once, and replies after a
while. ``lost``: does it, and loses the reply. ``locked``: lets writes wait until the driver's limit
passes, and refuses them from then on; ``hung``: reads as well. ``no writes``: reads only.
``no channels``: carries no messages, neither way. ``no messages``: lets none be sent."""
HELD_UP: tuple[State, ...] = ("up", "locked", "hung")
LIMIT = 1.0
"""Seconds after which the driver gives up a store that is locked or hangs."""
REFUSED: Mapping[State, tuple[Ability, ...]] = {
    "no writes": (Ability.WRITE,),
    "no channels": (Ability.HEAR, Ability.ANNOUNCE),
    "no messages": (Ability.ANNOUNCE,),
}


class Lock:
    """What holds up all operations alike, until it is gone or the driver gives up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._end: asyncio.Future[bool] | None = None

    async def wait(self) -> bool:
        """Return whether it was gone before the limit had passed for who came first."""
        if self._end is None:
            self._end = asyncio.get_running_loop().create_future()
            self._clock.call_at(self._clock.monotonic() + LIMIT, lambda: self.end(gone=False))
        return await asyncio.shield(self._end)

    def end(self, *, gone: bool) -> None:
        """Let all go on that wait."""
        if self._end is not None and not self._end.done():
            self._end.set_result(gone)


class Link:
    """Implements :class:`~argo_mw.plugin.Shared`: one instance's connection to the store.

    As drivers must, it does what was asked though its caller leaves, and takes back what was granted
    to one that has left.

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
        self._memory = MemoryShared(store, clock=clock)
        self._shared = RefusingStore(self._memory)
        self._clock = clock
        self._serving: set[asyncio.Future[object]] = set()
        self._gaps: list[Callable[[], None]] = []
        self._lock = Lock(clock)

    def turn(self, state: State) -> None:
        """Go over to *state*; messages that were missed while it was away make a gap."""
        returned = self.state == "away" and state != "away"
        self.state = state
        self._lock.end(gone=True)
        self._lock = Lock(self._clock)
        self._shared.refuse(REFUSED.get(state, ()))
        if returned and Ability.HEAR not in self._shared.refused:
            for on_gap in self._gaps:
                on_gap()

    async def _through(
        self,
        operation: Callable[[], Awaitable[T]],
        undo: Undo[T] | None,
        *,
        reads: bool = False,
    ) -> T:
        """Carry out *operation*; *undo* what it grants to a caller that has left."""
        state, delay = self.state, self.delay
        if state == "away":
            raise SharedUnavailable("the link is away")
        if state == "up" or state in REFUSED or (reads and state == "locked"):
            return await operation()
        if state == "lost":
            await operation()
            lost = SharedUnavailable("the reply was lost")
            vars(lost)["uncertain"] = True
            raise lost
        reply: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._begin(self._serve(operation, undo, reply, state, delay))
        try:
            return await reply
        except asyncio.CancelledError:
            if undo is not None and reply.done() and not (reply.cancelled() or reply.exception()):
                self._begin(undo(reply.result()))  # it came in the turn in which its caller left
            raise

    async def _serve(
        self,
        operation: Callable[[], Awaitable[T]],
        undo: Undo[T] | None,
        reply: asyncio.Future[T],
        state: State,
        delay: float,
    ) -> None:
        # In a task of its own: what was asked is done, whether its caller stays or leaves.
        if state in ("locked", "hung") and not await self._lock.wait():
            if not reply.done():
                reply.set_exception(SharedUnavailable(f"the store is {state}"))
            return
        if state == "slow":
            await self._clock.sleep(delay)
        try:
            answer = await operation()
        except Exception as error:
            if not reply.done():
                reply.set_exception(error)
            return
        if state == "late":
            await self._clock.sleep(delay)
        if not reply.done():
            reply.set_result(answer)
        elif undo is not None:
            await undo(answer)

    def _begin(self, code: Coroutine[object, object, object]) -> None:
        task = asyncio.ensure_future(code)
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def get(self, key: str) -> bytes | None:
        return await self._through(lambda: self._shared.get(key), None, reads=True)

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        return await self._through(lambda: self._shared.get_many(keys), None, reads=True)

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        await self._through(lambda: self._shared.set(key, value, ttl=ttl), None)

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None = None) -> None:
        await self._through(lambda: self._shared.set_many(items, ttl=ttl), None)

    async def create_many(
        self, items: Mapping[str, bytes], *, ttl: float | None = None
    ) -> Sequence[bytes]:
        return await self._through(lambda: self._shared.create_many(items, ttl=ttl), None)

    async def delete(self, keys: Sequence[str]) -> int:
        return await self._through(lambda: self._shared.delete(keys), None)

    async def compare_and_set(
        self, key: str, expected: bytes | None, value: bytes, *, ttl: float | None = None
    ) -> bool:
        return await self._through(
            lambda: self._shared.compare_and_set(key, expected, value, ttl=ttl), None
        )

    async def add(
        self,
        key: str,
        amount: int = 1,
        *,
        limit: int | None = None,
        ttl: float | None = None,
        **more: Any,
    ) -> Count:
        async def undo(count: Count) -> None:
            if count.added and limit is not None and amount > 0:
                await self._memory.add(key, -amount, ttl=ttl)

        try:
            return await self._through(
                lambda: self._shared.add(key, amount, limit=limit, ttl=ttl, **more), undo
            )
        except SharedUnavailable:
            self.uncertain[key] += abs(amount)
            raise

    async def acquire(self, key: str, *, ttl: float) -> Lease | None:
        async def undo(lease: Lease | None) -> None:
            if lease is not None:
                await self._memory.release(lease)

        if self.state == "lost":
            self.orphans.add(key)
        return await self._through(lambda: self._shared.acquire(key, ttl=ttl), undo)

    async def acquire_and_get(
        self, key: str, wanted: str, *, ttl: float
    ) -> tuple[Lease | None, bytes | None]:
        async def undo(answer: tuple[Lease | None, bytes | None]) -> None:
            if answer[0] is not None:
                await self._memory.release(answer[0])

        if self.state == "lost":
            self.orphans.add(key)
        return await self._through(lambda: self._shared.acquire_and_get(key, wanted, ttl=ttl), undo)

    async def get_or_acquire(
        self, key: str, lease: str, wanted: str, *, ttl: float
    ) -> tuple[bytes | None, Lease | None, bytes | None]:
        async def undo(answer: tuple[bytes | None, Lease | None, bytes | None]) -> None:
            if answer[1] is not None:
                await self._memory.release(answer[1])

        if self.state == "lost":
            self.orphans.add(lease)
        return await self._through(
            lambda: self._shared.get_or_acquire(key, lease, wanted, ttl=ttl), undo
        )

    async def renew(self, lease: Lease, *, ttl: float) -> bool:
        return await self._through(lambda: self._shared.renew(lease, ttl=ttl), None)

    async def release(self, lease: Lease) -> bool:
        return await self._through(lambda: self._shared.release(lease), None)

    async def set_fenced(
        self, key: str, value: bytes, lease: Lease, *, ttl: float | None = None
    ) -> bool:
        return await self._through(
            lambda: self._shared.set_fenced(key, value, lease, ttl=ttl), None
        )

    async def settle(self, lease: Lease, key: str, value: bytes, **more: Any) -> bool:
        return await self._through(lambda: self._shared.settle(lease, key, value, **more), None)

    async def publish(self, channel: str, message: bytes) -> None:
        await self._through(lambda: self._shared.publish(channel, message), None)

    async def subscribe(
        self,
        channel: str,
        on_message: Callable[[bytes], None],
        on_gap: Callable[[], None],
        *,
        on_lost: Callable[[str], None] | None = None,
    ) -> Subscription:
        def heard(message: bytes) -> None:
            if self.state != "away":
                on_message(message)

        self._gaps.append(on_gap)
        return await self._through(
            lambda: self._shared.subscribe(channel, heard, on_gap, on_lost=on_lost), None
        )

    async def scan(self, prefix: str) -> Sequence[str]:
        return await self._through(lambda: self._shared.scan(prefix), None, reads=True)

    async def aclose(self) -> None:
        while self._serving:
            await asyncio.wait(self._serving)
        await self._shared.aclose()
