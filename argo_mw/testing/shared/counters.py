"""What every driver does with counters."""

from __future__ import annotations

import asyncio

import pytest

from argo_mw.base.errors import BadParameter, EpochChanged
from argo_mw.store.protocol import Count, Shared, Witness, epoch_key, part_of
from argo_mw.testing.shared.tools import SharedTests, StoreUnderTest

COUNT = "count{counted}"
WITNESS = "witness{counted}"


class CounterConformance(SharedTests):
    """Counters, shared and limited."""

    async def test_a_counter_starts_at_zero_and_is_shared(
        self, shared: Shared, other: Shared
    ) -> None:
        assert Count(1, added=True) == await shared.add("count")
        assert Count(6, added=True) == await other.add("count", 5)
        assert await shared.get("count") == b"6"

    async def test_a_counter_never_passes_its_limit(self, shared: Shared) -> None:
        assert Count(3, added=True) == await shared.add("count", 3, limit=3)
        assert Count(3, added=False) == await shared.add("count", 1, limit=3)
        assert Count(0, added=False) == await shared.add("new", 4, limit=3)
        assert await shared.get("new") is None

    async def test_a_negative_amount_gives_back(self, shared: Shared) -> None:
        await shared.add("count", 3, limit=3)
        assert Count(1, added=True) == await shared.add("count", -2, limit=0)
        assert Count(3, added=True) == await shared.add("count", 2, limit=3)

    async def test_concurrent_additions_are_all_counted_up_to_the_limit(
        self, shared: Shared, other: Shared
    ) -> None:
        counts = await asyncio.gather(
            *(handle.add("count", limit=70) for _ in range(50) for handle in (shared, other))
        )
        assert sum(count.added for count in counts) == 70
        assert await shared.get("count") == b"70"

    async def test_adding_does_not_renew_a_counters_time_to_live(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        await shared.add("count", ttl=store.ttl)
        await store.advance(store.ttl * 0.6)
        await shared.add("count", ttl=store.ttl)
        await store.advance(store.ttl * 0.6)
        assert Count(1, added=True) == await shared.add("count", ttl=store.ttl)

    async def test_adding_to_a_value_is_refused(self, shared: Shared) -> None:
        await shared.set("key", b"text")
        with pytest.raises(BadParameter):
            await shared.add("key")
        assert await shared.get("key") == b"text"

    async def test_counters_are_added_to_in_the_expected_epoch_only(
        self, shared: Shared, other: Shared
    ) -> None:
        with pytest.raises(EpochChanged):
            await shared.add(COUNT, epoch=7)
        await other.add(_epoch(shared), 7, limit=7)
        assert await shared.add(COUNT, epoch=7) == Count(1, added=True)
        with pytest.raises(EpochChanged):
            await shared.add(COUNT, epoch=8)
        with pytest.raises(EpochChanged):
            await shared.add(COUNT, -1, epoch=8)
        assert await other.add(COUNT, 0) == Count(1, added=True)

    async def test_additions_are_counted_for_their_witness_and_refused_when_it_knows_of_more(
        self, shared: Shared, other: Shared
    ) -> None:
        witness = Witness(WITNESS, 0)
        assert Count(2, added=True, witnessed=1) == await shared.add(COUNT, 2, witness=witness)
        assert Count(3, added=True, witnessed=2) == await other.add(COUNT, witness=witness)
        refused = await shared.add(COUNT, limit=3, witness=Witness(WITNESS, 2))
        assert Count(3, added=False, witnessed=2) == refused
        with pytest.raises(EpochChanged):
            await shared.add(COUNT, witness=Witness(WITNESS, 3))
        with pytest.raises(EpochChanged):
            await shared.add(COUNT, witness=Witness("another{counted}", 1))
        assert Count(3, added=True) == await other.add(COUNT, 0)
        assert Count(2, added=True) == await other.add(WITNESS, 0)

    async def test_a_witness_is_known_for_longer_than_what_it_counted(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        await shared.add(COUNT, ttl=store.ttl, witness=Witness(WITNESS, 0))
        await store.advance(store.ttl * 1.2)
        again = await shared.add(COUNT, ttl=store.ttl, witness=Witness(WITNESS, 1))
        assert Count(1, added=True, witnessed=2) == again

    async def test_of_many_that_change_the_epoch_one_does(
        self, shared: Shared, other: Shared
    ) -> None:
        await shared.add(_epoch(shared), 7, limit=7)
        changed = await asyncio.gather(
            *(
                handle.add(_epoch(shared), 5, epoch=7)
                for _ in range(10)
                for handle in (shared, other)
            ),
            return_exceptions=True,
        )
        assert sum(isinstance(one, Count) for one in changed) == 1
        assert await shared.add(_epoch(shared), 0) == Count(12, added=True)


def _epoch(shared: Shared) -> str:
    """Return the key of the epoch in which the counter of these tests is."""
    return epoch_key(part_of(shared, COUNT))
