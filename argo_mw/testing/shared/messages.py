"""What every driver does with channels."""

from __future__ import annotations

import asyncio
import time

import pytest

from argo_mw.base.errors import ArgoError
from argo_mw.store.protocol import Shared
from argo_mw.testing.shared.tools import Listener, SharedTests, StoreUnderTest, eventually


class MessageConformance(SharedTests):
    """Messages, their order and their gaps."""

    async def test_a_message_reaches_every_listener_of_its_channel(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        mine, theirs, unrelated = Listener(), Listener(), Listener()
        await shared.subscribe("news", mine.on_message, mine.on_gap)
        await other.subscribe("news", theirs.on_message, theirs.on_gap)
        await other.subscribe("else", unrelated.on_message, unrelated.on_gap)
        await shared.publish("news", b"one")
        await eventually(lambda: bool(mine.messages and theirs.messages), store.timeout)
        await shared.publish("else", b"two")
        await eventually(lambda: bool(unrelated.messages), store.timeout)
        assert (mine.messages, theirs.messages) == ([b"one"], [b"one"])
        assert unrelated.messages == [b"two"]

    async def test_messages_of_one_sender_arrive_in_order_and_once(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        listener = Listener()
        await other.subscribe("news", listener.on_message, listener.on_gap)
        sent = [b"%d" % n for n in range(300)]
        for message in sent:
            await shared.publish("news", message)
        await eventually(lambda: len(listener.messages) >= len(sent), store.timeout)
        assert sent == listener.messages

    async def test_a_message_published_before_the_subscription_is_not_received(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        listener = Listener()
        await shared.publish("news", b"before")
        await other.subscribe("news", listener.on_message, listener.on_gap)
        await shared.publish("news", b"after")
        await eventually(lambda: bool(listener.messages), store.timeout)
        assert listener.messages == [b"after"]

    async def test_a_message_arrives_after_the_values_written_before_it(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        """Tag versions rely on this: a listener that reads after a message sees the change."""
        listener = Listener()
        await other.subscribe("news", listener.on_message, listener.on_gap)
        for n in range(20):
            await shared.set("key", b"%d" % n)
            await shared.publish("news", b"%d" % n)
            await eventually(lambda n=n: len(listener.messages) > n, store.timeout)  # type: ignore[misc]
            assert b"%d" % n == await other.get("key")

    async def test_a_closed_subscription_receives_nothing(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        closed, open_ = Listener(), Listener()
        subscription = await other.subscribe("news", closed.on_message, closed.on_gap)
        await other.subscribe("news", open_.on_message, open_.on_gap)
        await subscription.aclose()
        await subscription.aclose()
        await shared.publish("news", b"one")
        await eventually(lambda: bool(open_.messages), store.timeout)
        assert closed.messages == []

    @pytest.mark.filterwarnings("ignore")
    async def test_a_failing_listener_does_not_stop_others(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        def fail(message: bytes) -> None:
            raise RuntimeError(message)

        listener = Listener()
        await shared.subscribe("news", fail, listener.on_gap)
        await shared.subscribe("news", listener.on_message, listener.on_gap)
        await shared.publish("news", b"one")
        await shared.publish("news", b"two")
        await eventually(lambda: len(listener.messages) == 2, store.timeout)

    async def test_a_broken_connection_is_reported_as_a_gap_and_restored(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        if store.interrupt is None:
            pytest.skip("this driver has no connection that could break")
        listener = Listener()
        await shared.subscribe("news", listener.on_message, listener.on_gap)
        gaps = len(listener.gaps)
        await store.interrupt()
        await eventually(lambda: len(listener.gaps) > gaps, store.timeout)

        async def is_received() -> bool:
            try:
                await shared.publish("news", b"again")
            except ArgoError:
                return False
            return b"again" in listener.messages

        deadline = time.monotonic() + store.timeout
        while not await is_received():
            assert time.monotonic() < deadline, "the channel was not restored in time"
            await asyncio.sleep(0.01)
