"""What every driver of Shared must pass.

Subclass :class:`SharedConformance` and provide the fixture ``store``::

    class TestMyDriver(SharedConformance):
        @pytest.fixture
        async def store(self, tmp_path):
            clock = FakeClock()
            yield StoreUnderTest(lambda: open_mine(tmp_path / "db", clock=clock), clock.advance)

A server that keeps its own time is best told to bring nearer the end of all that it holds; the
default ``advance`` waits instead, for which ``life`` must be short, yet longer than a busy machine
takes from one command to the next. The suite needs pytest and
pytest-asyncio in its automatic mode.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from attrs import field, frozen

from argo_mw.base.errors import ArgoError, BadParameter, Closed
from argo_mw.store.protocol import Count, Lease, Shared


@frozen
class StoreUnderTest:
    """One store, and how to open handles on it.

    Attributes:
        open: Opens one more handle, as another process would.
        advance: Lets that many seconds pass for the store.
        life: A time to live, in seconds, that does not run out by itself during a test.
        interrupt: Breaks the connections of all handles, if the driver has any.
        patience: Seconds until something that must happen counts as not happening.
    """

    open: Callable[[], Awaitable[Shared]]
    advance: Callable[[float], Awaitable[None]] = asyncio.sleep
    life: float = 60.0
    interrupt: Callable[[], Awaitable[None]] | None = None
    patience: float = 60.0


@frozen
class Ears:
    """A listener that remembers what it heard."""

    messages: list[bytes] = field(factory=list)
    gaps: list[None] = field(factory=list)

    def on_message(self, message: bytes) -> None:
        self.messages.append(message)

    def on_gap(self) -> None:
        self.gaps.append(None)


async def eventually(condition: Callable[[], bool], patience: float = 60.0) -> None:
    """Return once *condition* holds; fail when it does not within *patience* seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.001)


class SharedConformance:
    """The contract of :class:`argo_mw.plugin.Shared`, as tests."""

    @pytest.fixture
    def store(self) -> StoreUnderTest:
        """The store under test: to be provided by the subclass."""
        raise NotImplementedError

    @pytest.fixture
    async def shared(self, store: StoreUnderTest) -> AsyncIterator[Shared]:
        handle = await store.open()
        yield handle
        await handle.aclose()

    @pytest.fixture
    async def other(self, store: StoreUnderTest) -> AsyncIterator[Shared]:
        """A second handle on the same store."""
        handle = await store.open()
        yield handle
        await handle.aclose()

    # -- values --------------------------------------------------------------------------

    async def test_a_key_that_was_never_set_has_no_value(self, shared: Shared) -> None:
        assert await shared.get("nothing") is None

    async def test_a_value_is_seen_by_every_handle(self, shared: Shared, other: Shared) -> None:
        await shared.set("key", b"value")
        assert await shared.get("key") == b"value"
        assert await other.get("key") == b"value"

    async def test_a_later_value_replaces_an_earlier_one(self, shared: Shared) -> None:
        await shared.set("key", b"one")
        await shared.set("key", b"two")
        assert await shared.get("key") == b"two"

    async def test_values_are_bytes_of_every_kind_and_size(self, shared: Shared) -> None:
        values = {"empty": b"", "zero": b"\0", "all": bytes(range(256)), "large": b"x" * 2**20}
        await shared.set_many(values)
        assert list(await shared.get_many(list(values))) == list(values.values())

    async def test_keys_are_text_of_every_kind(self, shared: Shared) -> None:
        keys = ["a b", "ü€😀", "new\nline", "%", "_", "{x}", "a" * 512, "nul\0"]
        await shared.set_many({key: key.encode() for key in keys})
        assert list(await shared.get_many(keys)) == [key.encode() for key in keys]

    async def test_get_many_answers_in_the_order_asked(self, shared: Shared) -> None:
        await shared.set_many({"a": b"1", "b": b"2"})
        keys = ["b", "none", "a", "b"]
        assert list(await shared.get_many(keys)) == [b"2", None, b"1", b"2"]
        assert list(await shared.get_many([])) == []

    async def test_many_keys_travel_at_once(self, shared: Shared) -> None:
        items = {f"key:{n}": b"%d" % n for n in range(2_000)}
        await shared.set_many(items)
        await shared.set_many({})
        assert list(await shared.get_many(list(items))) == list(items.values())

    async def test_delete_counts_what_existed(self, shared: Shared) -> None:
        await shared.set_many({"a": b"1", "b": b"2"})
        assert await shared.delete(["a", "b", "c"]) == 2
        assert await shared.delete(["a"]) == 0
        assert await shared.delete([]) == 0
        assert await shared.get("a") is None

    async def test_a_value_lives_as_long_as_it_was_told(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        await shared.set("short", b"1", ttl=store.life)
        await shared.set("long", b"2", ttl=store.life * 100)
        await shared.set("forever", b"3")
        assert await shared.get("short") == b"1"
        await store.advance(store.life * 1.5)
        assert list(await shared.get_many(["short", "long", "forever"])) == [None, b"2", b"3"]
        assert await shared.delete(["short"]) == 0

    async def test_setting_anew_renews_or_ends_the_time_to_live(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        await shared.set_many({"renewed": b"1", "freed": b"1"}, ttl=store.life)
        await shared.set("renewed", b"2", ttl=store.life * 100)
        await shared.set("freed", b"2")
        await store.advance(store.life * 1.5)
        assert list(await shared.get_many(["renewed", "freed"])) == [b"2", b"2"]

    async def test_scan_finds_live_keys_by_prefix(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        await shared.set_many({"p:1": b"", "p:2": b"", "q:1": b"", "p%": b"", "p*?[": b""})
        await shared.set("p:gone", b"", ttl=store.life)
        await store.advance(store.life * 1.5)
        assert sorted(await shared.scan("p:")) == ["p:1", "p:2"]
        assert sorted(await shared.scan("p*")) == ["p*?["]
        assert sorted(await shared.scan("p%")) == ["p%"]

    # -- compare and set -----------------------------------------------------------------

    async def test_compare_and_set_creates_only_what_is_not_there(self, shared: Shared) -> None:
        assert await shared.compare_and_set("key", None, b"one")
        assert not await shared.compare_and_set("key", None, b"two")
        assert await shared.get("key") == b"one"

    async def test_compare_and_set_replaces_only_what_is_expected(self, shared: Shared) -> None:
        assert not await shared.compare_and_set("key", b"one", b"two")
        await shared.set("key", b"one")
        assert not await shared.compare_and_set("key", b"other", b"two")
        assert await shared.compare_and_set("key", b"one", b"two")
        assert await shared.get("key") == b"two"

    async def test_compare_and_set_sees_an_expired_value_as_none(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        await shared.compare_and_set("key", None, b"one", ttl=store.life)
        await store.advance(store.life * 1.5)
        assert not await shared.compare_and_set("key", b"one", b"two")
        assert await shared.compare_and_set("key", None, b"two")

    async def test_of_many_that_compare_and_set_one_wins(
        self, shared: Shared, other: Shared
    ) -> None:
        for turn in range(5):
            won = await asyncio.gather(
                *(
                    handle.compare_and_set(f"key:{turn}", None, b"%d" % n)
                    for n in range(20)
                    for handle in (shared, other)
                )
            )
            assert won.count(True) == 1

    # -- counters ------------------------------------------------------------------------

    async def test_a_counter_starts_at_zero_and_is_shared(
        self, shared: Shared, other: Shared
    ) -> None:
        assert await shared.add("count") == Count(1, added=True)
        assert await other.add("count", 5) == Count(6, added=True)
        assert await shared.get("count") == b"6"

    async def test_a_counter_never_passes_its_limit(self, shared: Shared) -> None:
        assert await shared.add("count", 3, limit=3) == Count(3, added=True)
        assert await shared.add("count", 1, limit=3) == Count(3, added=False)
        assert await shared.add("new", 4, limit=3) == Count(0, added=False)
        assert await shared.get("new") is None

    async def test_what_was_taken_can_be_given_back(self, shared: Shared) -> None:
        await shared.add("count", 3, limit=3)
        assert await shared.add("count", -2, limit=0) == Count(1, added=True)
        assert await shared.add("count", 2, limit=3) == Count(3, added=True)

    async def test_concurrent_additions_are_all_counted_up_to_the_limit(
        self, shared: Shared, other: Shared
    ) -> None:
        counts = await asyncio.gather(
            *(handle.add("count", limit=70) for _ in range(50) for handle in (shared, other))
        )
        assert sum(count.added for count in counts) == 70
        assert await shared.get("count") == b"70"

    async def test_a_counters_time_is_not_renewed_by_adding(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        await shared.add("count", ttl=store.life)
        await store.advance(store.life * 0.6)
        await shared.add("count", ttl=store.life)
        await store.advance(store.life * 0.6)
        assert await shared.add("count", ttl=store.life) == Count(1, added=True)

    async def test_a_value_is_no_counter(self, shared: Shared) -> None:
        await shared.set("key", b"text")
        with pytest.raises(BadParameter):
            await shared.add("key")
        assert await shared.get("key") == b"text"

    # -- leases --------------------------------------------------------------------------

    async def test_a_lease_is_held_by_one(self, shared: Shared, other: Shared) -> None:
        lease = await shared.acquire("lease", ttl=60)
        assert lease is not None
        assert await other.acquire("lease", ttl=60) is None
        assert await shared.acquire("another", ttl=60) is not None
        assert await shared.release(lease)
        assert await other.acquire("lease", ttl=60) is not None

    async def test_of_many_that_want_a_lease_one_gets_it(
        self, shared: Shared, other: Shared
    ) -> None:
        leases = await asyncio.gather(
            *(handle.acquire("lease", ttl=60) for _ in range(20) for handle in (shared, other))
        )
        assert sum(lease is not None for lease in leases) == 1

    async def test_a_lease_ends_by_itself_and_its_holder_learns_it(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        first = await held(shared, "lease", store.life)
        await store.advance(store.life * 1.5)
        second = await held(other, "lease", store.life * 100)
        assert not await shared.renew(first, ttl=60)
        assert not await shared.release(first)
        assert await other.release(second)

    async def test_a_renewed_lease_goes_on(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        lease = await held(shared, "lease", store.life)
        assert await shared.renew(lease, ttl=store.life * 100)
        await store.advance(store.life * 1.5)
        assert await other.acquire("lease", ttl=60) is None
        assert await shared.release(lease)
        assert not await shared.release(lease)
        assert not await shared.renew(lease, ttl=60)

    async def test_fences_grow_with_every_holder(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        fences = []
        for handle in (shared, other, shared):
            lease = await held(handle, "lease", store.life * 100)
            fences.append(lease.fence)
            await handle.release(lease)
        expiring = await held(shared, "lease", store.life)
        await store.advance(store.life * 1.5)
        fences += [expiring.fence, (await held(other, "lease", store.life)).fence]
        assert fences == sorted(set(fences))

    async def test_the_holder_of_a_lease_writes(self, shared: Shared) -> None:
        lease = await held(shared, "lease", 60)
        assert await shared.set_fenced("key", b"mine", lease)
        assert await shared.set_fenced("key", b"mine too", lease)
        assert await shared.get("key") == b"mine too"

    async def test_a_late_holder_cannot_write_while_a_newer_one_holds(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        late = await held(shared, "lease", store.life)
        await store.advance(store.life * 1.5)
        await held(other, "lease", store.life * 100)
        assert not await shared.set_fenced("key", b"late", late)
        assert await shared.get("key") is None

    async def test_a_late_holder_cannot_write_over_a_newer_ones_value(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        late = await held(shared, "lease", store.life)
        await store.advance(store.life * 1.5)
        newer = await held(other, "lease", store.life * 100)
        assert await other.set_fenced("key", b"newer", newer)
        await other.release(newer)
        assert not await shared.set_fenced("key", b"late", late)
        assert await shared.get("key") == b"newer"

    async def test_a_holder_whose_lease_ran_out_unnoticed_still_writes(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        """A value that was worked for is not thrown away because time has passed."""
        lease = await held(shared, "lease", store.life)
        await store.advance(store.life * 1.5)
        assert await shared.set_fenced("key", b"value", lease, ttl=store.life)
        assert await shared.get("key") == b"value"
        await store.advance(store.life * 1.5)
        assert await shared.get("key") is None

    # -- messages ------------------------------------------------------------------------

    async def test_a_message_reaches_every_listener_of_its_channel(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        mine, theirs, elsewhere = Ears(), Ears(), Ears()
        await shared.subscribe("news", mine.on_message, mine.on_gap)
        await other.subscribe("news", theirs.on_message, theirs.on_gap)
        await other.subscribe("else", elsewhere.on_message, elsewhere.on_gap)
        await shared.publish("news", b"one")
        await eventually(lambda: bool(mine.messages and theirs.messages), store.patience)
        await shared.publish("else", b"two")
        await eventually(lambda: bool(elsewhere.messages), store.patience)
        assert (mine.messages, theirs.messages) == ([b"one"], [b"one"])
        assert elsewhere.messages == [b"two"]

    async def test_one_senders_messages_come_in_order_and_once(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        ears = Ears()
        await other.subscribe("news", ears.on_message, ears.on_gap)
        sent = [b"%d" % n for n in range(300)]
        for message in sent:
            await shared.publish("news", message)
        await eventually(lambda: len(ears.messages) >= len(sent), store.patience)
        assert ears.messages == sent

    async def test_what_was_said_before_is_not_heard(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        ears = Ears()
        await shared.publish("news", b"before")
        await other.subscribe("news", ears.on_message, ears.on_gap)
        await shared.publish("news", b"after")
        await eventually(lambda: bool(ears.messages), store.patience)
        assert ears.messages == [b"after"]

    async def test_a_message_is_heard_after_what_was_written_before_it(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        """Stamps rest on this: whoever hears of a change and reads sees the change."""
        ears = Ears()
        await other.subscribe("news", ears.on_message, ears.on_gap)
        for n in range(20):
            await shared.set("key", b"%d" % n)
            await shared.publish("news", b"%d" % n)
            await eventually(lambda n=n: len(ears.messages) > n, store.patience)  # type: ignore[misc]
            assert await other.get("key") == b"%d" % n

    async def test_who_left_hears_no_more(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        left, stayed = Ears(), Ears()
        subscription = await other.subscribe("news", left.on_message, left.on_gap)
        await other.subscribe("news", stayed.on_message, stayed.on_gap)
        await subscription.aclose()
        await subscription.aclose()
        await shared.publish("news", b"one")
        await eventually(lambda: bool(stayed.messages), store.patience)
        assert left.messages == []

    @pytest.mark.filterwarnings("ignore")
    async def test_a_listener_that_fails_does_not_deafen_others(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        def fail(message: bytes) -> None:
            raise RuntimeError(message)

        ears = Ears()
        await shared.subscribe("news", fail, ears.on_gap)
        await shared.subscribe("news", ears.on_message, ears.on_gap)
        await shared.publish("news", b"one")
        await shared.publish("news", b"two")
        await eventually(lambda: len(ears.messages) == 2, store.patience)

    async def test_a_broken_connection_is_a_gap_and_mends_itself(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        if store.interrupt is None:
            pytest.skip("this driver has no connection that could break")
        ears = Ears()
        await shared.subscribe("news", ears.on_message, ears.on_gap)
        gaps = len(ears.gaps)
        await store.interrupt()
        await eventually(lambda: len(ears.gaps) > gaps, store.patience)

        async def heard() -> bool:
            try:
                await shared.publish("news", b"again")
            except ArgoError:
                return False
            return b"again" in ears.messages

        deadline = time.monotonic() + store.patience
        while not await heard():
            assert time.monotonic() < deadline, "the channel did not come back"
            await asyncio.sleep(0.01)

    # -- callers -------------------------------------------------------------------------

    async def test_a_cancelled_caller_does_not_disturb_others(self, shared: Shared) -> None:
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

    async def test_two_hundred_callers_get_each_their_own(
        self, shared: Shared, other: Shared
    ) -> None:
        async def caller(number: int) -> None:
            handle = (shared, other)[number % 2]
            for turn in range(5):
                await handle.set(f"own:{number}", b"%d" % turn)
                assert await handle.get(f"own:{number}") == b"%d" % turn

        await asyncio.gather(*map(caller, range(200)))

    @pytest.mark.parametrize("key", ["", "x" * 513, "€" * 171, "\ud800", 7, None], ids=repr)
    async def test_keys_that_not_every_driver_keeps_are_refused(
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

    async def test_times_and_amounts_that_mean_nothing_are_refused(self, shared: Shared) -> None:
        for ttl in (0, -1, float("nan")):
            with pytest.raises(BadParameter):
                await shared.set("key", b"", ttl=ttl)
            with pytest.raises(BadParameter):
                await shared.acquire("key", ttl=ttl)
        for amount in (1.5, 2**60, True):
            with pytest.raises(BadParameter):
                await shared.add("key", amount)  # type: ignore[arg-type]

    async def test_a_closed_handle_says_so_and_others_go_on(
        self, store: StoreUnderTest, other: Shared
    ) -> None:
        handle = await store.open()
        await handle.set("key", b"value")
        await handle.aclose()
        await handle.aclose()
        with pytest.raises(Closed):
            await handle.get("key")
        assert await other.get("key") == b"value"


async def held(shared: Shared, key: str, ttl: float) -> Lease:
    """The lease on *key*, which must be free."""
    lease = await shared.acquire(key, ttl=ttl)
    assert lease is not None
    return lease
