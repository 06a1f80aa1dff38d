"""What every driver does with leases and the fences of their holders."""

from __future__ import annotations

import asyncio

import pytest

from argo_mw.store.protocol import Shared, Write
from argo_mw.testing.shared.tools import (
    Listener,
    SharedTests,
    StoreUnderTest,
    acquire,
    eventually,
)


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

    # -- a lease and what it is for, together -----------------------------------------------

    async def test_a_new_holder_of_a_lease_sees_what_the_one_before_has_stored(
        self, shared: Shared, other: Shared
    ) -> None:
        lease, found = await shared.acquire_and_get("lease", "key", ttl=60)
        assert lease is not None
        assert found is None
        assert await shared.settle(lease, "key", b"result", ttl=60, channel="news", message=b"done")
        next_lease, found = await other.acquire_and_get("lease", "key", ttl=60)
        assert next_lease is not None
        assert next_lease.fence > lease.fence
        assert found == b"result"
        assert await shared.acquire_and_get("lease", "key", ttl=60) == (None, b"result")

    async def test_of_concurrent_callers_one_loads_and_the_others_see_its_result(
        self, shared: Shared, other: Shared
    ) -> None:
        """Nobody finds both a lease to take and no result: a question is not loaded twice."""
        loads = []

        async def ask(handle: Shared) -> None:
            while True:
                lease, found = await handle.acquire_and_get("lease", "key", ttl=60)
                if lease is not None and found is None:
                    loads.append(lease)
                    await handle.settle(
                        lease, "key", b"result", ttl=60, channel="news", message=b"done"
                    )
                    return
                if lease is not None:
                    await handle.release(lease)
                if found is not None:
                    return
                await asyncio.sleep(0)

        await asyncio.gather(*(ask(handle) for _ in range(20) for handle in (shared, other)))
        assert len(loads) == 1

    @pytest.mark.parametrize("keys", [("key", "lease", "wanted"), ("{a}", "{a}lease", "{a}wanted")])
    async def test_a_value_is_returned_without_a_lease_and_a_lease_where_there_is_none(
        self, shared: Shared, other: Shared, keys: tuple[str, str, str]
    ) -> None:
        """Whether all three are in one place or not."""
        key, lease_key, wanted = keys
        await shared.set(wanted, b"before")
        found, lease, result = await shared.get_or_acquire(key, lease_key, wanted, ttl=60)
        assert lease is not None
        assert (None, lease_key, b"before") == (found, lease.key, result)
        refused = await other.get_or_acquire(key, lease_key, wanted, ttl=60)
        assert refused == (None, None, b"before")
        assert await shared.settle(lease, wanted, b"result", ttl=60, channel="c", message=b"m")
        await shared.set(key, b"")
        assert await other.get_or_acquire(key, lease_key, wanted, ttl=60) == (b"", None, None)
        assert await other.acquire(lease_key, ttl=60) is not None

    async def test_a_lease_that_a_look_has_found_refused_is_wanted(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        listener = Listener()
        await other.subscribe("news", listener.on_message, listener.on_gap)
        lease = await acquire(shared, "lease", 60)
        assert await other.get_or_acquire("key", "lease", "w", ttl=60) == (None, None, None)
        assert await shared.settle(lease, "w", b"1", ttl=60, channel="news", message=b"done")
        await eventually(lambda: listener.messages == [b"done"], store.timeout)

    async def test_settling_a_lease_notifies_those_whom_it_was_refused(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        listener = Listener()
        await other.subscribe("news", listener.on_message, listener.on_gap)
        lease = await acquire(shared, "lease", 60)
        assert await other.acquire("lease", ttl=60) is None
        assert await shared.settle(lease, "key", b"1", ttl=60, channel="news", message=b"first")
        await eventually(lambda: listener.messages == [b"first"], store.timeout)
        lease = await acquire(other, "lease", 60)
        assert await shared.acquire("lease", ttl=60) is None
        assert await other.settle(lease, "key", b"2", ttl=60, channel="news", message=b"second")
        await eventually(lambda: listener.messages[-1:] == [b"second"], store.timeout)
        assert await shared.get("key") == b"2"

    async def test_settling_a_lease_that_was_lost_stores_nothing_over_a_newer_holder(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        late = await acquire(shared, "lease", store.ttl)
        await store.advance(store.ttl * 1.5)
        newer = await acquire(other, "lease", store.ttl * 100)
        assert not await shared.settle(
            late, "key", b"late", ttl=60, channel="news", message=b"done"
        )
        assert await shared.get("key") is None
        assert await other.renew(newer, ttl=60)

    @pytest.mark.parametrize("keys", [("lease", "key", "answer"), ("{a}l", "{a}", "{a}answer")])
    async def test_what_is_to_be_stored_beside_a_settled_result_is_kept_for_its_own_time(
        self, shared: Shared, other: Shared, store: StoreUnderTest, keys: tuple[str, str, str]
    ) -> None:
        """Whether all of it is in one place or not."""
        lease_key, key, answer = keys
        lease = await acquire(shared, lease_key, 60)
        brief = Write(answer, b"answer", store.ttl)
        assert await shared.settle(
            lease, key, b"result", ttl=store.ttl * 100, channel="c", message=b"m", also=brief
        )
        assert await other.get_many([key, answer]) == [b"result", b"answer"]
        next_lease = await acquire(other, lease_key, 60)
        await store.advance(store.ttl * 1.5)
        assert await shared.get_many([key, answer]) == [b"result", None]
        lasting = Write(answer, b"another", None)
        assert await other.settle(
            next_lease, key, b"next", ttl=store.ttl, channel="c", message=b"m", also=lasting
        )
        await store.advance(store.ttl * 1.5)
        assert await shared.get_many([key, answer]) == [None, b"another"]

    async def test_what_is_to_be_stored_beside_a_result_needs_no_fence(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        late = await acquire(shared, "lease", store.ttl)
        await store.advance(store.ttl * 1.5)
        await acquire(other, "lease", store.ttl * 100)
        also = Write("answer", b"1", 60)
        assert not await shared.settle(
            late, "key", b"late", ttl=60, channel="c", message=b"m", also=also
        )
        assert await other.get_many(["key", "answer"]) == [None, b"1"]

    async def test_a_result_settled_by_one_whose_lease_ran_out_counts_and_is_announced(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        listener = Listener()
        await other.subscribe("news", listener.on_message, listener.on_gap)
        late = await acquire(shared, "lease", store.ttl)
        await store.advance(store.ttl * 1.5)
        assert await shared.settle(
            late, "key", b"result", ttl=store.ttl * 100, channel="news", message=b"done"
        )
        await eventually(lambda: listener.messages == [b"done"], store.timeout)
        assert await other.get("key") == b"result"
