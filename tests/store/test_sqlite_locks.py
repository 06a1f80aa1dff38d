"""A process keeps SQLite's locks, which closing any descriptor of the file would release."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from pathlib import Path

import pytest

from argo_mw.plugin import SystemClock
from argo_mw.store.sqlite_store import SqliteStore
from argo_mw.store.urls import open_shared

PROCESSES = 6
TURNS = 60


def work(path: str, number: int) -> int:
    async def run() -> int:
        shared = await open_shared(f"sqlite:///{path}", clock=SystemClock(), drivers={})
        for turn in range(TURNS):
            await shared.add("turns")
            await shared.set(f"{number}:{turn % 20}", b"v" * 20_000, ttl=5.0)
        await shared.aclose()
        return 1

    return asyncio.run(run())


def test_processes_that_open_and_close_the_file_do_not_damage_it(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        done = pool.starmap(work, [(str(path), number) for number in range(PROCESSES)])
    assert PROCESSES == sum(done)
    assert ["shared.db"] == [file.name for file in tmp_path.glob("*.db*") if "-" not in file.name]
    assert not list(tmp_path.glob("*damaged*"))


def test_a_second_connection_keeps_the_locks_of_the_first(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "shared.db")
    held = _locks()
    if not held:
        pytest.skip("this system does not list the locks of a process")
    second = SqliteStore(tmp_path / "shared.db")
    assert held <= _locks()
    second.close()
    first.close()


def _locks() -> set[str]:
    """Return the locks of this process, from the kernel's list."""
    mine = str(os.getpid())
    locks = Path("/proc/locks")
    lines = locks.read_text().splitlines() if locks.exists() else []
    return {" ".join(line.split()[1:]) for line in lines if line.split()[4] == mine}
