"""A shared store whose answers take turns of the event loop, and that can be away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TypeVar

from attrs import define

from argo_mw.base.clock import Clock, SystemClock
from argo_mw.base.errors import Closed, SharedUnavailable
from argo_mw.store.give_backs import GiveBacks, claim
from argo_mw.store.memory import MemoryShared
from argo_mw.store.memory_store import MemoryStore
from argo_mw.store.protocol import Count, Lease, Subscription, Witness, Write

T = TypeVar("T")

_DAY = 86_400.0


@define
class _Network:
    """What lies between a store and all its handles."""

    away: bool = False


class SlowStore:
    """Implements :class:`~argo_mw.plugin.Shared` in memory, as slowly as a server.

    What is asked reaches the store some turns of the loop later, in the order in which it was
    asked, and the answer comes back some turns after that. Callers can leave in between.

    Args:
        beside: Another handle, to share a store with; ``None`` makes a new store.
        clock: Decides what has expired.
        turns: How slow it is.

    Attributes:
        turns: The turns of the loop on the way there, and again on the way back.
        clock: What it tells time by.
    """

    _store: MemoryStore

    def __init__(
        self, beside: SlowStore | None = None, *, clock: Clock | None = None, turns: int = 1
    ) -> None:
        self.turns = turns
        self._network: _Network = _Network() if beside is None else beside._network
        self.clock = clock = clock if clock is not None else SystemClock()
        self._store = MemoryStore() if beside is None else beside._store
        self._memory = MemoryShared(self._store, clock=clock)
        self._give_backs = GiveBacks(clock)
        self._under_way = 0
        self._closed = False

    @property
    def away(self) -> bool:
        """Whether no handle reaches it: what is asked is refused, and has not been done."""
        return self._network.away

    @away.setter
    def away(self, away: bool) -> None:
        self._network.away = away

    @property
    def counters(self) -> dict[str, int]:
        """The counters by key, without those that are 0."""
        counters = self._store.counters.items()
        return {k: e.value for k, e in counters if isinstance(e.value, int) and e.value}

    @property
    def leases(self) -> list[str]:
        """The keys of the leases that were taken and not released."""
        return list(self._store.leases)

    def forget(self) -> None:
        """Lose everything, as a server that is flushed."""
        for kept in (self._store.values, self._store.counters, self._store.leases):
            kept.clear()

    async def get(self, key: str) -> bytes | None:
        """See :meth:`argo_mw.plugin.Shared.get`."""
        return await self._ask(self._memory.get(key))

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """See :meth:`argo_mw.plugin.Shared.get_many`."""
        return await self._ask(self._memory.get_many(keys))

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        """See :meth:`argo_mw.plugin.Shared.set`."""
        await self._ask(self._memory.set(key, value, ttl=ttl))

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None = None) -> None:
        """See :meth:`argo_mw.plugin.Shared.set_many`."""
        await self._ask(self._memory.set_many(items, ttl=ttl))

    async def create_many(
        self, items: Mapping[str, bytes], *, ttl: float | None = None
    ) -> Sequence[bytes]:
        """See :meth:`argo_mw.plugin.Shared.create_many`."""
        return await self._ask(self._memory.create_many(items, ttl=ttl))

    async def delete(self, keys: Sequence[str]) -> int:
        """See :meth:`argo_mw.plugin.Shared.delete`."""
        return await self._ask(self._memory.delete(keys))

    async def compare_and_set(
        self, key: str, expected: bytes | None, value: bytes, *, ttl: float | None = None
    ) -> bool:
        """See :meth:`argo_mw.plugin.Shared.compare_and_set`."""
        return await self._ask(self._memory.compare_and_set(key, expected, value, ttl=ttl))

    async def add(
        self,
        key: str,
        amount: int = 1,
        *,
        limit: int | None = None,
        ttl: float | None = None,
        epoch: int | None = None,
        witness: Witness | None = None,
    ) -> Count:
        """See :meth:`argo_mw.plugin.Shared.add`."""

        def late(count: Count) -> None:
            if limit is not None and amount > 0 and count.added:
                self._give_backs.start(
                    "store:give-back",
                    lambda: self.add(key, -amount, ttl=ttl, epoch=epoch),
                    seconds=_DAY if ttl is None else ttl,
                )

        asked = self._memory.add(key, amount, limit=limit, ttl=ttl, epoch=epoch, witness=witness)
        return await self._ask(asked, late)

    async def acquire(self, key: str, *, ttl: float) -> Lease | None:
        """See :meth:`argo_mw.plugin.Shared.acquire`."""

        def late(lease: Lease | None) -> None:
            self._release_later(lease, ttl)

        return await self._ask(self._memory.acquire(key, ttl=ttl), late)

    async def acquire_and_get(
        self, key: str, wanted: str, *, ttl: float
    ) -> tuple[Lease | None, bytes | None]:
        """See :meth:`argo_mw.plugin.Shared.acquire_and_get`."""

        def late(answer: tuple[Lease | None, bytes | None]) -> None:
            self._release_later(answer[0], ttl)

        return await self._ask(self._memory.acquire_and_get(key, wanted, ttl=ttl), late)

    async def get_or_acquire(
        self, key: str, lease: str, wanted: str, *, ttl: float
    ) -> tuple[bytes | None, Lease | None, bytes | None]:
        """See :meth:`argo_mw.plugin.Shared.get_or_acquire`."""

        def late(answer: tuple[bytes | None, Lease | None, bytes | None]) -> None:
            self._release_later(answer[1], ttl)

        return await self._ask(self._memory.get_or_acquire(key, lease, wanted, ttl=ttl), late)

    def _release_later(self, lease: Lease | None, ttl: float) -> None:
        if lease is not None:
            self._give_backs.start(
                "store:give-back", lambda: self.release(lease), seconds=ttl, idempotent=True
            )

    async def renew(self, lease: Lease, *, ttl: float) -> bool:
        """See :meth:`argo_mw.plugin.Shared.renew`."""
        return await self._ask(self._memory.renew(lease, ttl=ttl))

    async def release(self, lease: Lease) -> bool:
        """See :meth:`argo_mw.plugin.Shared.release`."""
        return await self._ask(self._memory.release(lease))

    async def set_fenced(
        self, key: str, value: bytes, lease: Lease, *, ttl: float | None = None
    ) -> bool:
        """See :meth:`argo_mw.plugin.Shared.set_fenced`."""
        return await self._ask(self._memory.set_fenced(key, value, lease, ttl=ttl))

    async def settle(
        self,
        lease: Lease,
        key: str,
        value: bytes,
        *,
        ttl: float | None,
        channel: str,
        message: bytes,
        also: Write | None = None,
    ) -> bool:
        """See :meth:`argo_mw.plugin.Shared.settle`."""
        return await self._ask(
            self._memory.settle(
                lease, key, value, ttl=ttl, channel=channel, message=message, also=also
            )
        )

    async def publish(self, channel: str, message: bytes) -> None:
        """See :meth:`argo_mw.plugin.Shared.publish`."""
        await self._ask(self._memory.publish(channel, message))

    async def subscribe(
        self,
        channel: str,
        on_message: Callable[[bytes], None],
        on_gap: Callable[[], None],
        *,
        on_lost: Callable[[str], None] | None = None,
    ) -> Subscription:
        """See :meth:`argo_mw.plugin.Shared.subscribe`."""
        return await self._ask(self._memory.subscribe(channel, on_message, on_gap))

    async def scan(self, prefix: str) -> Sequence[str]:
        """See :meth:`argo_mw.plugin.Shared.scan`."""
        return await self._ask(self._memory.scan(prefix))

    async def aclose(self) -> None:
        """Finish what was asked. Idempotent."""
        while self._under_way:
            await asyncio.sleep(0)
        await self._give_backs.aclose()
        self._closed = True
        await self._memory.aclose()

    async def _ask(
        self, asked: Coroutine[object, object, T], late: Callable[[T], None] | None = None
    ) -> T:
        if self._closed:
            asked.close()
            msg = "the shared store was closed; open another one"
            raise Closed(msg)
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._under_way += 1
        self._after(self.turns, lambda: self._arrive(asked, done, late))
        return await (done if late is None else claim(done, late))

    def _arrive(
        self,
        asked: Coroutine[object, object, T],
        done: asyncio.Future[T],
        late: Callable[[T], None] | None,
    ) -> None:
        if self.away:
            asked.close()
            away = SharedUnavailable("the store is away")
            self._after(self.turns, lambda: self._answer(done, away, late))
            return
        answer: T | Exception
        try:
            asked.send(None)  # the memory's own answers never wait
        except StopIteration as stop:
            answer = stop.value
        except Exception as error:
            answer = error
        self._after(self.turns, lambda: self._answer(done, answer, late))

    def _answer(
        self, done: asyncio.Future[T], answer: T | Exception, late: Callable[[T], None] | None
    ) -> None:
        self._under_way -= 1
        if isinstance(answer, Exception):
            if not done.done():
                done.set_exception(answer)
        elif not done.done():
            done.set_result(answer)
        elif late is not None:
            late(answer)

    def _after(self, turns: int, step: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        if turns <= 0:
            step()
        else:
            loop.call_soon(self._after, turns - 1, step)
