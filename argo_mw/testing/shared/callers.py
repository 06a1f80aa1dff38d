"""What every driver does for many callers, and for wrong arguments."""

from __future__ import annotations

import asyncio

import pytest

from argo_mw.base.errors import BadParameter, Closed
from argo_mw.store.protocol import Shared
from argo_mw.testing.shared.tools import SharedTests, StoreUnderTest


class CallerConformance(SharedTests):
    """Concurrent callers, wrong arguments and closed handles."""

    async def test_a_cancelled_caller_does_not_affect_others(self, shared: Shared) -> None:
        items = {f"key:{n}": b"%d" % n for n in range(100)}
        await shared.set_many(items)
        for turn in range(10):
            callers = [asyncio.ensure_future(shared.get(key)) for key in items]
            for _ in range(turn):
                await asyncio.sleep(0)
            for caller in callers[::3]:
                caller.cancel()
            answers = await asyncio.gather(*callers, return_exceptions=True)
            for answer, expected in zip(answers, items.values(), strict=True):
                assert answer == expected or isinstance(answer, asyncio.CancelledError)
        assert await shared.get("key:7") == b"7"

    async def test_two_hundred_concurrent_callers_read_their_own_values(
        self, shared: Shared, other: Shared
    ) -> None:
        async def caller(number: int) -> None:
            handle = (shared, other)[number % 2]
            for turn in range(5):
                await handle.set(f"own:{number}", b"%d" % turn)
                assert b"%d" % turn == await handle.get(f"own:{number}")

        await asyncio.gather(*map(caller, range(200)))

    @pytest.mark.parametrize("key", ["", "x" * 513, "€" * 171, "\ud800", 7, None], ids=repr)
    async def test_keys_that_some_driver_could_not_keep_are_refused(
        self, shared: Shared, key: str
    ) -> None:
        for attempt in (
            shared.get(key),
            shared.get_many(["a", key]),
            shared.set(key, b""),
            shared.delete([key]),
            shared.add(key),
            shared.acquire(key, ttl=1),
            shared.publish(key, b""),
        ):
            with pytest.raises(BadParameter):
                await attempt

    async def test_values_that_are_not_bytes_are_refused(self, shared: Shared) -> None:
        for value in ("text", 5, None, bytearray(b"x")):
            with pytest.raises(BadParameter):
                await shared.set("key", value)  # type: ignore[arg-type]
        assert await shared.get("key") is None

    async def test_meaningless_times_and_amounts_are_refused(self, shared: Shared) -> None:
        for ttl in (0, -1, float("nan")):
            with pytest.raises(BadParameter):
                await shared.set("key", b"", ttl=ttl)
            with pytest.raises(BadParameter):
                await shared.acquire("key", ttl=ttl)
        for amount in (1.5, 2**60, True):
            with pytest.raises(BadParameter):
                await shared.add("key", amount)  # type: ignore[arg-type]

    async def test_a_closed_handle_raises_closed_and_others_go_on(
        self, store: StoreUnderTest, other: Shared
    ) -> None:
        handle = await store.open()
        await handle.set("key", b"value")
        await handle.aclose()
        await handle.aclose()
        with pytest.raises(Closed):
            await handle.get("key")
        assert await other.get("key") == b"value"
