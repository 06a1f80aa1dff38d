"""A SQLite file that was put back to an older state, however that came about, is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from argo_mw.store import Epochs
from argo_mw.store.sqlite import open_sqlite
from argo_mw.testing import FakeClock

DAY = 86_400.0
LIMIT = 5
COMPANIONS = ("", "-wal", "-shm")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall=20_000 * DAY + 3_600.0)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "shared.db"


@asynccontextmanager
async def process(path: Path, clock: FakeClock) -> AsyncIterator[Epochs]:
    """Open the store as a process on this machine does."""
    shared = await open_sqlite(path, clock=clock, busy_timeout=5.0)
    epochs = Epochs(shared, clock, url=f"sqlite://{path}", state_dir=path.parent)
    yield epochs
    await epochs.aclose()
    await shared.aclose()


async def sent(epochs: Epochs, clock: FakeClock, wanted: int) -> int:
    """Return how many of the *wanted* requests today's limit lets pass."""
    began = clock.time() // DAY * DAY
    passed = 0
    for _ in range(wanted):
        count = await epochs.add(f"day:{began}", began=began, limit=LIMIT, ttl=2 * DAY)
        passed += count is not None and count.added
    return passed


async def noticed(epochs: Epochs) -> None:
    """Return once *epochs* knows of a loss: files are looked at every so often, in real time."""
    while not (await epochs.refresh()).lost:
        await asyncio.sleep(0.01)


def copied(path: Path) -> dict[str, bytes]:
    """Return the bytes of the database and of its companions."""
    files = {suffix: Path(f"{path}{suffix}") for suffix in COMPANIONS}
    return {suffix: file.read_bytes() for suffix, file in files.items() if file.exists()}


def put(path: Path, files: dict[str, bytes], *, in_place: bool = False) -> None:
    """Put *files* where the database is; *in_place* as ``cp`` does, else as ``mv`` does."""
    for suffix in COMPANIONS:
        file = Path(f"{path}{suffix}")
        if suffix not in files or not in_place:
            file.unlink(missing_ok=True)
        if suffix in files:
            file.write_bytes(files[suffix])


def older(before: dict[str, bytes], now: dict[str, bytes]) -> dict[str, bytes]:
    return before


def without_log(before: dict[str, bytes], now: dict[str, bytes]) -> dict[str, bytes]:
    return {"": now[""]}


def half_of_the_log(before: dict[str, bytes], now: dict[str, bytes]) -> dict[str, bytes]:
    return {"": now[""], "-wal": now["-wal"][: len(now["-wal"]) // 2]}


@pytest.mark.parametrize("damage", [older, without_log, half_of_the_log])
@pytest.mark.parametrize("in_place", [False, True])
async def test_what_is_put_back_while_nothing_runs_lets_nothing_pass(
    path: Path, clock: FakeClock, damage: Callable[..., dict[str, bytes]], in_place: bool
) -> None:
    async with process(path, clock) as first:
        passed = await sent(first, clock, 1)
    async with process(path, clock) as second:
        before = copied(path)
        passed += await sent(second, clock, 4)
        now = copied(path)  # as a process that is killed leaves them
    put(path, damage(before, now), in_place=in_place)
    async with process(path, clock) as third:
        assert LIMIT == passed + await sent(third, clock, 9)
        assert (await third.refresh()).lost


@pytest.mark.parametrize("first", [0, 1])
async def test_what_is_put_back_under_running_processes_lets_nothing_pass(
    path: Path, clock: FakeClock, first: int
) -> None:
    async with process(path, clock) as before:
        await before.current()
    files = copied(path)
    async with AsyncExitStack() as stack:
        running = [await stack.enter_async_context(process(path, clock)) for _ in range(2)]
        passed = await sent(running[0], clock, 4)
        assert 0 < await sent(running[1], clock, 1)
        await running[0].aclose()  # a moment later
        put(path, files)
        for one in (running[first], running[1 - first]):
            passed += await sent(one, clock, 9)
        assert LIMIT - 1 == passed
        for one in running:
            await noticed(one)
        await clock.advance(DAY)
        assert 1 == await sent(running[1], clock, 1)
