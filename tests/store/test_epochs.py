"""A store that has lost what it counted is noticed by all who count in it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_mw.store import EPOCH_KEY, Epochs
from argo_mw.store.memory import MemoryShared
from argo_mw.store.memory_store import MemoryStore
from argo_mw.testing import FakeClock

URL = "redis://argo:secret@cache.example:6379/0?prefix=prod:"
DAY = 86_400.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall=20_000 * DAY + 3_600.0)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def process(store, clock, tmp_path):
    """Return what starts a process on this machine."""

    def start(directory: Path | None = tmp_path, url: str = URL) -> Epochs:
        return Epochs(MemoryShared(store, clock=clock), clock, url=url, state_dir=directory)

    return start


def lose(store: MemoryStore) -> None:
    """Flush the store."""
    store.counters.clear()
    store.values.clear()


async def count(epochs: Epochs, clock: FakeClock, limit: int = 10) -> bool:
    """Count in today's period; return whether it was counted."""
    began = clock.time() // DAY * DAY
    added = await epochs.add(f"day:{began}", began=began, limit=limit, ttl=2 * DAY)
    return added is not None and added.added


async def test_the_first_start_ever_is_no_loss(process, clock) -> None:
    first = process()
    assert await count(first, clock)
    assert not (await first.refresh()).lost


async def test_a_restart_is_no_loss(process, clock) -> None:
    assert await count(process(), clock)
    again = process()
    assert await count(again, clock)
    assert not (await again.refresh()).lost


async def test_a_flushed_store_refuses_periods_that_had_begun_and_counts_new_ones(
    process, store, clock
) -> None:
    epochs, warnings = process(), []
    epochs.warn = warnings.append
    assert await count(epochs, clock)
    lose(store)
    assert not await count(epochs, clock)
    assert "has lost what it counted" in warnings[0]
    assert "argo-mw accept-loss" in warnings[0]
    await clock.advance(DAY)
    assert await count(epochs, clock)


async def test_a_store_that_was_flushed_while_nothing_ran_is_noticed(process, store, clock) -> None:
    assert await count(process(), clock)
    lose(store)
    assert not await count(process(), clock)


async def test_all_processes_agree_on_a_loss(process, store, clock, tmp_path) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    running = [process(), process(), process(elsewhere)]
    assert [True] * 3 == [await count(one, clock) for one in running]
    lose(store)
    counted = await asyncio.gather(*(count(one, clock) for one in running))
    assert [False] * 3 == counted
    assert 1 == len({await one.current() for one in running})
    assert not await count(process(), clock)


async def test_a_machine_that_never_saw_the_store_learns_of_its_loss_from_one_that_did(
    process, store, clock, tmp_path
) -> None:
    (new := tmp_path / "new").mkdir()
    old = process()
    assert await count(old, clock)
    lose(store)
    newcomer = process(new)
    assert await count(newcomer, clock)  # it cannot know
    assert not await count(old, clock)
    assert not await count(newcomer, clock)


async def test_a_store_that_was_put_back_to_an_earlier_state_is_noticed(
    process, store, clock
) -> None:
    epochs = process()
    assert await count(epochs, clock)
    backup = store.counters[EPOCH_KEY].value
    lose(store)
    assert not await count(epochs, clock)
    await clock.advance(DAY)
    assert await count(epochs, clock)
    store.counters[EPOCH_KEY].value = backup
    assert not await count(epochs, clock)


async def test_an_accepted_loss_is_forgotten_everywhere(process, store, clock) -> None:
    one, other = process(), process()
    assert await count(one, clock)
    assert await count(other, clock)
    lose(store)
    assert not await count(one, clock)
    assert await process().accept()
    assert await count(one, clock)
    assert await count(other, clock)
    assert not await process().accept()


async def test_memory_that_ends_with_its_process_is_not_lost(process, store, clock) -> None:
    assert await count(process(url="memory://name"), clock)
    lose(store)
    assert await count(process(url="memory://name"), clock)


async def test_what_is_given_back_after_a_loss_makes_no_room(process, store, clock) -> None:
    epochs = process()
    assert await count(epochs, clock)
    lose(store)
    day = f"day:{clock.time() // DAY * DAY}"
    await epochs.give_back(day, 1, ttl=DAY)
    assert day not in store.counters


async def test_the_file_holds_no_secret_and_is_private(process, clock, tmp_path) -> None:
    assert await count(process(), clock)
    (file,) = tmp_path.iterdir()
    assert "secret" not in file.read_text()
    assert 0o600 == file.stat().st_mode & 0o777


async def test_another_password_is_the_same_store(process, store, clock) -> None:
    assert await count(process(), clock)
    lose(store)
    assert not await count(process(url=URL.replace("secret", "changed")), clock)


def copy_of(store: MemoryStore) -> dict[str, int]:
    """Return what *store* has counted by now."""
    return {key: entry.value for key, entry in store.counters.items()}


def put_back(store: MemoryStore, copy: dict[str, int]) -> None:
    """Let *store* know nothing that is not in *copy*."""
    for key in list(store.counters):
        if key in copy:
            store.counters[key].value = copy[key]
        else:
            del store.counters[key]


async def test_an_older_copy_of_the_same_epoch_is_noticed(process, store, clock) -> None:
    epochs, warnings = process(), []
    epochs.warn = warnings.append
    assert await count(epochs, clock)
    copy = copy_of(store)
    assert await count(epochs, clock)
    put_back(store, copy)
    assert not await count(epochs, clock)
    assert "put back" in warnings[0]
    assert (await epochs.refresh()).lost
    await clock.advance(DAY)
    assert await count(epochs, clock)


async def test_an_older_copy_is_noticed_after_a_restart(process, store, clock) -> None:
    first = process()
    assert await count(first, clock)
    copy = copy_of(store)
    assert await count(first, clock)
    await first.aclose()
    put_back(store, copy)
    again = process()
    assert await again.count("day", began=0.0) is None
    assert (await again.refresh()).lost
    assert not await count(again, clock)


async def test_what_was_counted_is_remembered_soon_and_not_only_at_the_end(
    process, store, clock, tmp_path
) -> None:
    first = process()
    await first.current()
    copy = copy_of(store)
    assert await count(first, clock)
    (file,) = tmp_path.iterdir()
    before = file.read_text()
    async with asyncio.timeout(60.0):
        while file.read_text() == before:
            await asyncio.sleep(0.01)
    put_back(store, copy)
    assert not await count(process(), clock)  # as after kill -9


async def test_a_machine_that_had_seen_more_notices_what_others_have_counted_over(
    process, store, clock, tmp_path
) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    here, other = process(), process(elsewhere)
    assert await count(here, clock)
    assert await count(other, clock)
    copy = copy_of(store)
    assert await count(here, clock)
    put_back(store, copy)
    assert [True] * 3 == [await count(other, clock) for _ in range(3)]  # it cannot know
    assert not await count(here, clock)
    assert not await count(other, clock)


async def test_a_machine_that_counts_seldom_is_no_reason_for_an_alarm(
    process, store, clock
) -> None:
    epochs = process()
    assert await count(epochs, clock)
    await clock.advance(100 * DAY)  # the store has forgotten the machine by then
    assert await count(epochs, clock)
    assert not (await epochs.refresh()).lost


class Reopened(MemoryShared):
    """A store that is reached again whenever it was put back, as with a server that restarts."""

    openings = 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["count", "count", "count", "copy", "put back", "restart", "wait"]),
            st.integers(0, 2),
        ),
        max_size=60,
    )
)
@settings(max_examples=100, deadline=None)
def test_no_period_counts_beyond_its_limit_whatever_copies_are_put_back(
    tmp_path_factory, steps: list[tuple[str, int]]
) -> None:
    asyncio.run(drive_copies(tmp_path_factory.mktemp("state"), steps))


async def drive_copies(directory: Path, steps: list[tuple[str, int]]) -> None:
    clock, store = FakeClock(wall=20_000 * DAY), MemoryStore()
    handles = [Reopened(store, clock=clock) for _ in range(3)]
    running = [Epochs(one, clock, url=URL, state_dir=directory) for one in handles]
    for one in running:
        await one.current()
    copies = [copy_of(store)]
    counted: dict[float, int] = {}
    for step, number in steps:
        match step:
            case "count":
                day = clock.time() // DAY
                counted[day] = counted.get(day, 0) + await count(running[number], clock, limit=5)
                assert counted[day] <= 5
                await running[number].aclose()
            case "copy":
                copies.append(copy_of(store))
            case "put back":
                put_back(store, copies[number % len(copies)])
                for one in handles:
                    one.openings += 1
            case "restart":
                running[number] = Epochs(handles[number], clock, url=URL, state_dir=directory)
            case "wait":
                await clock.advance(DAY / 3)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["count", "count", "count", "lose", "restart", "wait"]),
            st.integers(0, 2),
        ),
        max_size=60,
    )
)
@settings(max_examples=100, deadline=None)
def test_no_period_counts_beyond_its_limit_whatever_is_lost(
    tmp_path_factory, steps: list[tuple[str, int]]
) -> None:
    asyncio.run(drive(tmp_path_factory.mktemp("states"), steps))


async def drive(directory: Path, steps: list[tuple[str, int]]) -> None:
    clock, store = FakeClock(wall=20_000 * DAY), MemoryStore()
    machines = [directory / "one", directory / "one", directory / "two"]

    def start(number: int) -> Epochs:
        machines[number].mkdir(exist_ok=True)
        shared = MemoryShared(store, clock=clock)
        return Epochs(shared, clock, url=URL, state_dir=machines[number])

    running = [start(number) for number in range(3)]
    for one in running:
        await one.current()
    counted: dict[float, int] = {}
    for step, number in steps:
        match step:
            case "count":
                day = clock.time() // DAY
                counted[day] = counted.get(day, 0) + await count(running[number], clock, limit=5)
                assert counted[day] <= 5
            case "lose":
                lose(store)
            case "restart":
                running[number] = start(number)
            case "wait":
                await clock.advance(DAY / 3)
