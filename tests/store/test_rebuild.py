"""What a copy lacks that has taken over is added again by the processes that had added it."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_mw.store import EpochChanged, Epochs
from argo_mw.store.memory import MemoryShared
from argo_mw.store.memory_store import MemoryStore
from argo_mw.testing import FakeClock

URL = "redis+cluster://cache.example:6379"
DAY = 86_400.0
LIMIT = 5
T = TypeVar("T")


class Replicated(MemoryShared):
    """A store of which copies take over."""

    takeovers = 0
    openings = 1


class Fleet:
    """A store with a copy that lags, and the processes that count in it, each on its machine."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock(wall=20_000 * DAY + 3_600.0)
        self.store = MemoryStore()
        self.directory = directory
        self.started = 0
        self.handles: list[Replicated] = []
        self.warnings: list[str] = []
        self.replicate()

    def start(self) -> Epochs:
        self.handles.append(Replicated(self.store, clock=self.clock))
        directory = self.directory / str(len(self.handles))
        directory.mkdir()
        epochs = Epochs(self.handles[-1], self.clock, url=URL, state_dir=directory)
        epochs.warn = self.warnings.append
        return epochs

    def replicate(self) -> None:
        """Let the copy have all."""
        self.copy = copy.deepcopy((self.store.counters, self.store.values))

    def take_over(self) -> None:
        """Let the copy take over."""
        counters, values = copy.deepcopy(self.copy)
        for kept, copied in ((self.store.counters, counters), (self.store.values, values)):
            kept.clear()
            kept.update(copied)
        for one in self.handles:
            one.takeovers += 1
            one.openings += 1

    async def wait_for(self, what: Awaitable[T]) -> T:
        """Return the result of *what*, while time goes by."""
        task = asyncio.ensure_future(what)
        while not task.done():
            await self.clock.advance(0.1)
        return await task

    async def add(self, epochs: Epochs, amount: int = 1) -> bool:
        added = await self.wait_for(
            epochs.add("day", amount, began=20_000 * DAY, limit=LIMIT, ttl=DAY)
        )
        return added is not None and added.added

    async def pass_by(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            await self.clock.advance(0.1)

    @property
    def counted(self) -> int:
        return self.store.counters["day"].value


@pytest.fixture
def fleet(tmp_path):
    return Fleet(tmp_path)


async def test_what_a_copy_lacks_is_added_again_and_nothing_is_refused(fleet) -> None:
    one, other = fleet.start(), fleet.start()
    assert await fleet.add(one)
    assert await fleet.add(other)
    fleet.replicate()
    assert await fleet.add(one)
    assert await fleet.add(other)
    fleet.take_over()
    assert 2 == fleet.counted
    assert await fleet.add(one)
    assert 5 == fleet.counted
    assert not await fleet.add(other)
    assert not (await one.refresh()).lost
    for process in (one, other):
        await process.aclose()


async def test_a_process_that_asks_nothing_adds_its_part_again_as_well(fleet) -> None:
    one, idle = fleet.start(), fleet.start()
    assert await fleet.add(one)
    assert await fleet.add(idle)
    fleet.replicate()
    assert await fleet.add(idle, 3)
    fleet.take_over()
    await fleet.pass_by(5.0)
    assert 5 == fleet.counted
    assert not await fleet.add(one)
    assert fleet.warnings == []
    for process in (one, idle):
        await process.aclose()


async def test_the_watch_outlives_an_unexpected_error_and_logs_it_once(
    fleet, monkeypatch, caplog
) -> None:
    one = fleet.start()
    assert await fleet.add(one)
    fleet.replicate()
    assert await fleet.add(one, 3)
    fleet.take_over()

    def damaged(*_: object, **__: object) -> None:
        msg = "a driver's own fault"
        raise RuntimeError(msg)

    with monkeypatch.context() as patched:
        patched.setattr(fleet.handles[0], "add", damaged)
        await fleet.pass_by(5.0)
    logged = [one for one in caplog.records if "cannot be watched" in one.message]
    assert 1 == len(logged)
    assert "a driver's own fault" in caplog.text
    await fleet.pass_by(5.0)
    assert 4 == fleet.counted
    await one.aclose()


async def test_what_was_taken_off_since_is_taken_off_again(fleet) -> None:
    one = fleet.start()
    assert await fleet.add(one, 4)
    fleet.replicate()
    known = one.known("day")
    await one.take_off("day", 1, epoch=known.number)
    await one.give_back("day", 1)
    fleet.take_over()
    assert await fleet.add(one)
    assert 3 == fleet.counted
    # It was counted before, and still is.
    await one.take_off("day", 2, epoch=known.number)
    assert 1 == fleet.counted
    await one.aclose()


async def test_while_a_process_is_missing_what_has_begun_is_refused(fleet) -> None:
    one, gone = fleet.start(), fleet.start()
    assert await fleet.add(one)
    assert await fleet.add(gone)
    fleet.replicate()
    assert await fleet.add(one)
    assert await fleet.add(gone)
    gone._watching.cancel()  # as kill -9 does
    fleet.take_over()
    assert not await fleet.add(one)
    await fleet.pass_by(200.0)
    assert not await fleet.add(one)
    assert (await one.refresh()).lost
    assert "is gone for good" in fleet.warnings[0]
    tomorrow = await fleet.wait_for(one.add("tomorrow", began=20_001 * DAY, limit=1))
    assert tomorrow.added
    assert await one.accept()
    assert await fleet.add(one)
    await one.aclose()


async def test_a_process_that_had_left_is_waited_for_only_if_something_of_it_is_lost(fleet) -> None:
    one, left, early = fleet.start(), fleet.start(), fleet.start()
    for process in (one, left, early):
        assert await fleet.add(process)
    await early.aclose()
    fleet.replicate()
    assert await fleet.add(one)
    fleet.take_over()
    assert await fleet.add(one)
    assert 5 == fleet.counted
    await left.aclose()
    await one.aclose()


async def test_what_a_process_has_added_that_left_too_soon_is_refused(fleet) -> None:
    one, left = fleet.start(), fleet.start()
    assert await fleet.add(one)
    assert await fleet.add(left)
    fleet.replicate()
    assert await fleet.add(left)
    await left.aclose()
    fleet.take_over()
    assert await fleet.add(one)  # it cannot know, since nothing of its own is lost
    fleet.replicate()
    assert await fleet.add(one)
    fleet.take_over()
    assert not await fleet.add(one)
    await one.aclose()


async def test_a_store_that_began_anew_is_lost_as_ever(fleet) -> None:
    one = fleet.start()
    fleet.replicate()
    assert await fleet.add(one)
    fleet.take_over()
    assert not await fleet.add(one)
    assert (await one.refresh()).lost
    await one.aclose()


async def test_a_copy_that_is_minutes_old_is_refused(fleet) -> None:
    one = fleet.start()
    assert await fleet.add(one)
    fleet.replicate()
    for _ in range(3):
        await fleet.pass_by(59.0)
        assert await fleet.add(one)
    fleet.take_over()
    assert not await fleet.add(one)
    await one.aclose()


async def test_what_was_held_before_a_loss_is_not_taken_off_after_it(fleet) -> None:
    one = fleet.start()
    fleet.replicate()
    assert await fleet.add(one, 3)
    known = one.known("day")
    fleet.take_over()
    assert not await fleet.add(one)
    assert await one.accept()
    assert known.number != (await one.refresh()).number
    assert await fleet.add(one)
    await one.aclose()


STEPS = ["add", "add", "add", "add", "take_off", "replicate", "take_over", "close", "wait"]


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 2)), max_size=40))
@settings(max_examples=60, deadline=None)
def test_nothing_counts_beyond_its_limit_whatever_copies_lack(
    tmp_path_factory, steps: list[tuple[str, int]]
) -> None:
    asyncio.run(drive(Fleet(tmp_path_factory.mktemp("fleet")), steps))


class Counting:
    """Processes that count, and what was granted to them."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.running = [fleet.start() for _ in range(3)]
        self.held: list[tuple[int, int]] = []
        self.kept = 0

    async def add(self, number: int) -> None:
        if await self.fleet.add(epochs := self.running[number]):
            self.held.append((number, epochs.known("day").number))

    async def take_off(self, number: int) -> None:
        if self.held:
            whose, epoch = self.held.pop(number % len(self.held))
            try:
                await self.fleet.wait_for(self.running[whose].take_off("day", 1, epoch=epoch))
            except EpochChanged:
                self.kept += 1

    async def replicate(self, number: int) -> None:
        self.fleet.replicate()

    async def take_over(self, number: int) -> None:
        self.fleet.take_over()

    async def close(self, number: int) -> None:
        self.fleet.replicate()  # else it is waited for; see the tests above
        await self.running[number].aclose()
        self.kept += sum(whose == number for whose, _ in self.held)
        self.held = [one for one in self.held if one[0] != number]
        self.running[number] = self.fleet.start()

    async def wait(self, number: int) -> None:
        await self.fleet.pass_by(20.0)


async def drive(fleet: Fleet, steps: list[tuple[str, int]]) -> None:
    counting = Counting(fleet)
    for step, number in steps:
        rolls = {**fleet.store.values}
        await getattr(counting, step)(number)
        if rolls != fleet.store.values:
            fleet.replicate()  # who is on the roll has been there for a while
        assert len(counting.held) + counting.kept <= LIMIT, f"after {step} of {number}"
    for epochs in counting.running:
        await epochs.aclose()
