"""kill -9 at random moments: every acknowledged row is there exactly once."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from argo_mw_persist import PostgresSink, Query, Sink, SqliteSink
from argo_mw_persist.testing import Postgres


def killed_at_random(child, chance: random.Random) -> set[str]:
    """Let *child* acknowledge some rows, kill it in the midst, and take all that it had said."""
    wanted = chance.randrange(1, 3_000)
    lines = []
    for line in child.stdout:
        lines.append(line)
        if len(lines) == wanted:
            child.kill()
    assert child.wait() == -signal.SIGKILL
    # What was being printed in the moment of death may be cut short.
    return {line.strip() for line in lines if line.endswith("\n")}


async def assert_kept_once(sink: Sink, acknowledged: set[str]) -> None:
    found = [row[0].hex() for row in await sink.read(Query("SELECT id FROM signals"))]
    assert set() == acknowledged - set(found)
    assert len(found) == len(set(found))


async def sqlite_rounds(start_child, tmp_path: Path, rounds: int) -> None:
    chance = random.Random(rounds)
    path = tmp_path / "signals.db"
    acknowledged: set[str] = set()
    for _ in range(rounds):
        child = start_child("load", f"sqlite:///{path}")
        acknowledged |= killed_at_random(child, chance)
    sink = SqliteSink(path)
    await sink.open()
    await assert_kept_once(sink, acknowledged)
    assert await sink.check() == []
    await sink.aclose()


async def postgres_rounds(start_child, server: Postgres, rounds: int) -> None:
    chance = random.Random(rounds)
    url = server.database("killed")
    acknowledged: set[str] = set()
    for _ in range(rounds):
        acknowledged |= killed_at_random(start_child("load", url), chance)
    sink = PostgresSink(url)
    await sink.open()
    await assert_kept_once(sink, acknowledged)
    await sink.aclose()


async def test_sqlite_keeps_what_a_killed_process_had_acknowledged(start_child, tmp_path):
    await sqlite_rounds(start_child, tmp_path, 10)


async def test_postgres_keeps_what_a_killed_process_had_acknowledged(start_child, server):
    await postgres_rounds(start_child, server, 10)


@pytest.mark.soak
async def test_sqlite_keeps_what_a_hundred_killed_processes_had_acknowledged(start_child, tmp_path):
    await sqlite_rounds(start_child, tmp_path, 100)


@pytest.mark.soak
async def test_postgres_keeps_what_a_hundred_killed_processes_had_acknowledged(start_child, server):
    await postgres_rounds(start_child, server, 100)
