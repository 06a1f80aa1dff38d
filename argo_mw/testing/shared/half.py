"""What every driver does while its store half works: it says what is refused, and does the rest."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest

from argo_mw.base.errors import SharedUnavailable
from argo_mw.store.health import Ability
from argo_mw.store.protocol import Shared
from argo_mw.testing.shared.tools import Listener, SharedTests, StoreUnderTest, eventually

Operation = Callable[[Shared], Awaitable[object]]

OPERATIONS: Mapping[Ability, Sequence[Operation]] = {
    Ability.READ: (lambda shared: shared.get("key"), lambda shared: shared.get_many(["key"])),
    Ability.WRITE: (
        lambda shared: shared.set("key", b"value"),
        lambda shared: shared.set_many({"one": b"1", "two": b"2"}),
        lambda shared: shared.create_many({f"created:{time.monotonic_ns()}": b"value"}),
        lambda shared: shared.compare_and_set(f"new:{time.monotonic_ns()}", None, b"value"),
    ),
    Ability.ANNOUNCE: (lambda shared: shared.publish("news", b"message"),),
    Ability.HEAR: (lambda shared: shared.subscribe("news", _ignore, lambda: None),),
    Ability.LEASE: (
        lambda shared: shared.acquire(f"lease:{time.monotonic_ns()}", ttl=60.0),
        lambda shared: shared.acquire_and_get(f"lease:{time.monotonic_ns()}", "key", ttl=60.0),
        lambda shared: shared.get_or_acquire(
            "none", f"lease:{time.monotonic_ns()}", "key", ttl=60.0
        ),
    ),
    Ability.COUNT: (lambda shared: shared.add("count"),),
}
WHAT_WRITES = (Ability.WRITE, Ability.LEASE, Ability.COUNT)
CHANNELS = (Ability.HEAR, Ability.ANNOUNCE)
HALVES: Mapping[str, Sequence[Ability]] = {
    "no writes": WHAT_WRITES,
    "no channels": CHANNELS,
    "no publishing": (Ability.ANNOUNCE,),
    "no leases and counters": (Ability.LEASE, Ability.COUNT),
}


class HalfConformance(SharedTests):
    """A store that refuses some of what it is asked."""

    @pytest.mark.parametrize("half", HALVES)
    async def test_what_is_refused_is_an_error_with_a_reason_and_the_rest_goes_on(
        self, shared: Shared, store: StoreUnderTest, half: str
    ) -> None:
        if store.refuse is None:
            pytest.skip("nothing can make this store refuse a part")
        await shared.set("key", b"value")
        refused = HALVES[half]
        await store.refuse(refused)
        for ability, operations in OPERATIONS.items():
            for operation in operations:
                if ability not in refused:
                    await operation(shared)
                    continue
                with pytest.raises(SharedUnavailable) as caught:
                    await operation(shared)
                assert str(caught.value), "it must say why"
                assert not caught.value.uncertain, "what was refused was not done"
        await store.refuse(())
        for operations in OPERATIONS.values():
            for operation in operations:
                await operation(shared)

    async def test_a_subscription_says_when_messages_no_longer_arrive_and_when_they_do(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        if store.refuse is None:
            pytest.skip("nothing can make this store refuse a part")
        listener, lost = Listener(), list[str]()
        await shared.subscribe("news", listener.on_message, listener.on_gap, on_lost=lost.append)
        await store.refuse(CHANNELS)
        await eventually(lambda: bool(lost), store.timeout)
        assert all(lost), "it must say why"
        gaps = len(listener.gaps)
        await store.refuse(())
        await eventually(lambda: len(listener.gaps) > gaps, store.timeout)
        await other.publish("news", b"again")
        await eventually(lambda: listener.messages == [b"again"], store.timeout)


def _ignore(message: bytes) -> None:
    """Do nothing with *message*."""
