"""A store that has lost what it counted is noticed by all who count in it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_mw.store import EPOCH_KEY, Epochs
from argo_mw.store.memory import MemoryShared, MemoryStore
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
    await epochs.give_back(f"day:{clock.time() // DAY * DAY}", 1, ttl=DAY)
    assert [EPOCH_KEY] == list(store.counters)


async def test_the_file_holds_no_secret_and_is_private(process, clock, tmp_path) -> None:
    assert await count(process(), clock)
    (file,) = tmp_path.iterdir()
    assert "secret" not in file.read_text()
    assert 0o600 == file.stat().st_mode & 0o777


async def test_another_password_is_the_same_store(process, store, clock) -> None:
    assert await count(process(), clock)
    lose(store)
    assert not await count(process(url=URL.replace("secret", "changed")), clock)


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
