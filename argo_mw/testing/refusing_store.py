"""A shared store that half works: it refuses some of what it is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from attrs import frozen

from argo_mw.base.errors import SharedUnavailable
from argo_mw.store.health import Ability
from argo_mw.store.protocol import Count, Lease, Shared, Subscription, Witness, Write
from argo_mw.store.steps import acquire_then_get, get_then_acquire, settle_in_steps

T = TypeVar("T")


@frozen
class _Listener:
    """What is called when messages cease to arrive, and when they arrive again."""

    on_gap: Callable[[], None]
    on_lost: Callable[[str], None] | None


class RefusingStore:
    """Implements :class:`~argo_mw.plugin.Shared` by another store, less what it refuses.

    A store that is full or cannot save refuses writes, one whose user has no channels refuses
    messages; the rest goes on.

    Args:
        shared: The store that does what is not refused.

    Attributes:
        asked: How often each ability was asked for, refused or not.
    """

    def __init__(self, shared: Shared) -> None:
        self.asked = dict.fromkeys(Ability, 0)
        self._shared = shared
        self._refused: frozenset[Ability] = frozenset()
        self._listeners: list[_Listener] = []

    @property
    def refused(self) -> frozenset[Ability]:
        """What is refused now."""
        return self._refused

    def refuse(self, abilities: Iterable[Ability] = ()) -> None:
        """Refuse *abilities* from now on, and nothing else.

        Who refuses writes refuses leases and counters too.
        """
        before, self._refused = self._refused, frozenset(abilities)
        for listener in tuple(self._listeners):
            if Ability.HEAR in self._refused - before and listener.on_lost is not None:
                listener.on_lost(_reason(Ability.HEAR))
            if Ability.HEAR in before - self._refused:
                listener.on_gap()

    async def get(self, key: str) -> bytes | None:
        """See :meth:`argo_mw.plugin.Shared.get`."""
        return await self._ask(Ability.READ, lambda: self._shared.get(key))

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """See :meth:`argo_mw.plugin.Shared.get_many`."""
        return await self._ask(Ability.READ, lambda: self._shared.get_many(keys))

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        """See :meth:`argo_mw.plugin.Shared.set`."""
        await self._ask(Ability.WRITE, lambda: self._shared.set(key, value, ttl=ttl))

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None = None) -> None:
        """See :meth:`argo_mw.plugin.Shared.set_many`."""
        await self._ask(Ability.WRITE, lambda: self._shared.set_many(items, ttl=ttl))

    async def create_many(
        self, items: Mapping[str, bytes], *, ttl: float | None = None
    ) -> Sequence[bytes]:
        """See :meth:`argo_mw.plugin.Shared.create_many`."""
        return await self._ask(Ability.WRITE, lambda: self._shared.create_many(items, ttl=ttl))

    async def delete(self, keys: Sequence[str]) -> int:
        """See :meth:`argo_mw.plugin.Shared.delete`."""
        return await self._ask(Ability.WRITE, lambda: self._shared.delete(keys))

    async def compare_and_set(
        self, key: str, expected: bytes | None, value: bytes, *, ttl: float | None = None
    ) -> bool:
        """See :meth:`argo_mw.plugin.Shared.compare_and_set`."""
        return await self._ask(
            Ability.WRITE, lambda: self._shared.compare_and_set(key, expected, value, ttl=ttl)
        )

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
        return await self._ask(
            Ability.COUNT,
            lambda: self._shared.add(
                key, amount, limit=limit, ttl=ttl, epoch=epoch, witness=witness
            ),
        )

    async def acquire(self, key: str, *, ttl: float) -> Lease | None:
        """See :meth:`argo_mw.plugin.Shared.acquire`."""
        return await self._ask(Ability.LEASE, lambda: self._shared.acquire(key, ttl=ttl))

    async def acquire_and_get(
        self, key: str, wanted: str, *, ttl: float
    ) -> tuple[Lease | None, bytes | None]:
        """See :meth:`argo_mw.plugin.Shared.acquire_and_get`."""
        return await acquire_then_get(self, key, wanted, ttl=ttl)

    async def get_or_acquire(
        self, key: str, lease: str, wanted: str, *, ttl: float
    ) -> tuple[bytes | None, Lease | None, bytes | None]:
        """See :meth:`argo_mw.plugin.Shared.get_or_acquire`."""
        return await get_then_acquire(self, key, lease, wanted, ttl=ttl)

    async def renew(self, lease: Lease, *, ttl: float) -> bool:
        """See :meth:`argo_mw.plugin.Shared.renew`."""
        return await self._ask(Ability.LEASE, lambda: self._shared.renew(lease, ttl=ttl))

    async def release(self, lease: Lease) -> bool:
        """See :meth:`argo_mw.plugin.Shared.release`."""
        return await self._ask(Ability.LEASE, lambda: self._shared.release(lease))

    async def set_fenced(
        self, key: str, value: bytes, lease: Lease, *, ttl: float | None = None
    ) -> bool:
        """See :meth:`argo_mw.plugin.Shared.set_fenced`."""
        return await self._ask(
            Ability.LEASE, lambda: self._shared.set_fenced(key, value, lease, ttl=ttl)
        )

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
        return await settle_in_steps(
            self, lease, key, value, ttl=ttl, channel=channel, message=message, also=also
        )

    async def publish(self, channel: str, message: bytes) -> None:
        """See :meth:`argo_mw.plugin.Shared.publish`."""
        await self._ask(Ability.ANNOUNCE, lambda: self._shared.publish(channel, message))

    async def subscribe(
        self,
        channel: str,
        on_message: Callable[[bytes], None],
        on_gap: Callable[[], None],
        *,
        on_lost: Callable[[str], None] | None = None,
    ) -> Subscription:
        """See :meth:`argo_mw.plugin.Shared.subscribe`."""

        def arrived(message: bytes) -> None:
            if Ability.HEAR not in self._refused:
                on_message(message)

        subscription = await self._ask(
            Ability.HEAR,
            lambda: self._shared.subscribe(channel, arrived, on_gap, on_lost=on_lost),
        )
        self._listeners.append(_Listener(on_gap, on_lost))
        return subscription

    async def scan(self, prefix: str) -> Sequence[str]:
        """See :meth:`argo_mw.plugin.Shared.scan`."""
        return await self._ask(Ability.READ, lambda: self._shared.scan(prefix))

    async def aclose(self) -> None:
        """Close the store that does the rest. Idempotent."""
        self._listeners.clear()
        await self._shared.aclose()

    async def _ask(self, ability: Ability, operation: Callable[[], Awaitable[T]]) -> T:
        self.asked[ability] += 1
        writes = ability in {Ability.LEASE, Ability.COUNT}
        if ability in self._refused or (writes and Ability.WRITE in self._refused):
            raise SharedUnavailable(_reason(ability))
        return await operation()


def _reason(ability: Ability) -> str:
    return f"the store refuses to {ability.value}, on purpose: let it"
