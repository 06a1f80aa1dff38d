"""What every driver does while its store takes no writes: nobody waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import pytest

from argo_mw.base.errors import SharedUnavailable
from argo_mw.store.protocol import Shared, part_of
from argo_mw.testing.shared.leaving import until_counted, until_free
from argo_mw.testing.shared.tools import SharedTests, StoreUnderTest

CALLERS = 200
_TURNS = 20

Operation = Callable[[Shared, str], Awaitable[object]]

OPERATIONS: dict[str, Operation] = {
    "set": lambda shared, key: shared.set(key, b"value"),
    "create_many": lambda shared, key: shared.create_many({key: b"value"}),
    "compare_and_set": lambda shared, key: shared.compare_and_set(key, None, b"value"),
    "add": lambda shared, key: shared.add(f"count:{key}", limit=CALLERS),
    "acquire": lambda shared, key: shared.acquire(f"lease:{key}", ttl=3_600),
    "acquire_and_get": lambda shared, key: shared.acquire_and_get(f"lease:{key}", key, ttl=3_600),
    "get_or_acquire": lambda shared, key: shared.get_or_acquire(
        f"none:{key}", f"lease:{key}", key, ttl=3_600
    ),
    "publish": lambda shared, key: shared.publish("news", key.encode()),
    "delete": lambda shared, key: shared.delete([key]),
}
_READS_FIRST = "get_or_acquire"
"""What asks for a lease only after a read, which may work and take a thread."""


class AwayConformance(SharedTests):
    """A store that takes no writes for a while, as one that is locked or suspended."""

    async def test_callers_do_not_wait_for_a_store_that_takes_no_writes(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        """Not even the first ones for longer than the driver's limit, nor one behind the other."""
        if store.block is None:
            pytest.skip("nothing can block this store")
        await shared.set("key", b"value")
        async with store.block():
            began = time.monotonic()
            await asyncio.gather(*(_refused(shared, n) for n in range(CALLERS)))
            for number in range(CALLERS):
                with contextlib.suppress(SharedUnavailable):
                    await shared.get("key")  # which may work
                with pytest.raises(SharedUnavailable):
                    await shared.set(f"later:{number}", b"value")
            # Twice the limit is the room for a busy machine; a queue would take many times that.
            assert time.monotonic() - began < 2 * store.limit + 2.0
        await until_written(shared, store.timeout)

    @pytest.mark.parametrize("operation", OPERATIONS)
    async def test_a_store_that_is_away_refuses_at_once(
        self, shared: Shared, store: StoreUnderTest, operation: str
    ) -> None:
        """Within some turns of the loop, until a probe has written."""
        if store.block is None:
            pytest.skip("nothing can block this store")
        async with store.block():
            with pytest.raises(SharedUnavailable):
                await shared.set("key", b"value")
            if part_of(shared, "key"):  # each place is found to be away by itself
                with pytest.raises(SharedUnavailable):
                    await OPERATIONS[operation](shared, "key")
            asked = asyncio.ensure_future(OPERATIONS[operation](shared, "key"))
            if operation == _READS_FIRST:
                with contextlib.suppress(SharedUnavailable):
                    await shared.get("key")  # asked after its read, so answered after it
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            assert asked.done()
            error = asked.exception()
            assert isinstance(error, SharedUnavailable)
            assert not error.uncertain
        await until_written(shared, store.timeout)

    async def test_what_is_refused_while_the_store_is_away_takes_nothing(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        """Neither what was refused at once nor what the store got to do later."""
        if store.block is None:
            pytest.skip("nothing can block this store")
        async with store.block():
            asked = [
                asyncio.ensure_future(one)
                for number in range(10)
                for one in (
                    shared.acquire(f"lease:{number}", ttl=3_600),
                    shared.add(f"count:{number}", 2, limit=10, ttl=3_600),
                )
            ]
            await asyncio.wait(asked)
            errors = [one.exception() for one in asked]
            assert all(isinstance(error, SharedUnavailable) for error in errors)
        await until_written(other, store.timeout)
        await until_written(shared, store.timeout)
        for number in range(10):
            await until_free(other, f"lease:{number}", store.timeout)
            if not _is_uncertain(errors[2 * number + 1]):
                await until_counted(other, f"count:{number}", 0, store.timeout)


async def until_written(shared: Shared, timeout: float) -> None:
    """Return once *shared* takes writes again."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            await shared.set("written", b"value")
        except SharedUnavailable:
            assert time.monotonic() < deadline, "the store is still away"
            await asyncio.sleep(0.01)
        else:
            return


async def _refused(shared: Shared, number: int) -> None:
    operations = [*OPERATIONS.values()]
    with pytest.raises(SharedUnavailable):
        await operations[number % len(operations)](shared, f"key:{number}")


def _is_uncertain(error: BaseException | None) -> bool:
    return isinstance(error, SharedUnavailable) and error.uncertain
