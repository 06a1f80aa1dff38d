"""What every driver does with leases and the fences of their holders."""

from __future__ import annotations

import asyncio

from argo_mw.store.protocol import Shared
from argo_mw.testing.shared.tools import SharedTests, StoreUnderTest, acquire


class LeaseConformance(SharedTests):
    """Leases, and writes that a newer holder fences off."""

    async def test_a_lease_has_one_holder(self, shared: Shared, other: Shared) -> None:
        lease = await shared.acquire("lease", ttl=60)
        assert lease is not None
        assert await other.acquire("lease", ttl=60) is None
        assert await shared.acquire("another", ttl=60) is not None
        assert await shared.release(lease)
        assert await other.acquire("lease", ttl=60) is not None

    async def test_of_concurrent_callers_one_acquires_a_lease(
        self, shared: Shared, other: Shared
    ) -> None:
        leases = await asyncio.gather(
            *(handle.acquire("lease", ttl=60) for _ in range(20) for handle in (shared, other))
        )
        assert sum(lease is not None for lease in leases) == 1

    async def test_an_expired_lease_passes_on_and_its_holder_can_neither_renew_nor_release_it(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        first = await acquire(shared, "lease", store.ttl)
        await store.advance(store.ttl * 1.5)
        second = await acquire(other, "lease", store.ttl * 100)
        assert not await shared.renew(first, ttl=60)
        assert not await shared.release(first)
        assert await other.release(second)

    async def test_a_renewed_lease_outlives_its_first_time_to_live(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        lease = await acquire(shared, "lease", store.ttl)
        assert await shared.renew(lease, ttl=store.ttl * 100)
        await store.advance(store.ttl * 1.5)
        assert await other.acquire("lease", ttl=60) is None
        assert await shared.release(lease)
        assert not await shared.release(lease)
        assert not await shared.renew(lease, ttl=60)

    async def test_fences_grow_with_every_holder(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        fences = []
        for handle in (shared, other, shared):
            lease = await acquire(handle, "lease", store.ttl * 100)
            fences.append(lease.fence)
            await handle.release(lease)
        expiring = await acquire(shared, "lease", store.ttl)
        await store.advance(store.ttl * 1.5)
        fences += [expiring.fence, (await acquire(other, "lease", store.ttl)).fence]
        assert sorted(set(fences)) == fences

    async def test_the_holder_of_a_lease_can_write_more_than_once(self, shared: Shared) -> None:
        lease = await acquire(shared, "lease", 60)
        assert await shared.set_fenced("key", b"mine", lease)
        assert await shared.set_fenced("key", b"mine too", lease)
        assert await shared.get("key") == b"mine too"

    async def test_a_late_holder_cannot_write_while_a_newer_one_holds(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        late = await acquire(shared, "lease", store.ttl)
        await store.advance(store.ttl * 1.5)
        await acquire(other, "lease", store.ttl * 100)
        assert not await shared.set_fenced("key", b"late", late)
        assert await shared.get("key") is None

    async def test_a_late_holder_cannot_write_over_a_newer_ones_value(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        late = await acquire(shared, "lease", store.ttl)
        await store.advance(store.ttl * 1.5)
        newer = await acquire(other, "lease", store.ttl * 100)
        assert await other.set_fenced("key", b"newer", newer)
        await other.release(newer)
        assert not await shared.set_fenced("key", b"late", late)
        assert await shared.get("key") == b"newer"

    async def test_a_holder_of_an_expired_lease_writes_while_no_newer_one_has(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        """The work is done already: only a newer holder's value may take precedence."""
        lease = await acquire(shared, "lease", store.ttl)
        await store.advance(store.ttl * 1.5)
        assert await shared.set_fenced("key", b"value", lease, ttl=store.ttl)
        assert await shared.get("key") == b"value"
        await store.advance(store.ttl * 1.5)
        assert await shared.get("key") is None
