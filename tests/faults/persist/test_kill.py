"""kill -9 at random moments: every acknowledged row is there exactly once."""

from __future__ import annotations

import random
import signal
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from argo_mw_persist import PostgresSink, Query
from argo_mw_persist.schema import OWN_SCHEMA
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


ROWS = "SELECT id, key, timestamp FROM answers"


def assert_kept_once(rows: Iterable[Sequence[object]], acknowledged: set[str]) -> None:
    found = [(identifier.hex(), run, number) for identifier, run, number in rows]
    assert set() == acknowledged - {identifier for identifier, _, _ in found}
    # A record that was written again under another identifier would be two of one number.
    assert len(found) == len({(run, number) for _, run, number in found})


async def sqlite_rounds(start_child, tmp_path: Path, rounds: int) -> None:
    chance = random.Random(rounds)
    path = tmp_path / "answers.db"
    acknowledged: set[str] = set()
    for _ in range(rounds):
        child = start_child("load", f"sqlite:///{path}")
        acknowledged |= killed_at_random(child, chance)
    with closing(sqlite3.connect(path)) as database:
        assert [("ok",)] == database.execute("PRAGMA integrity_check").fetchall()
        assert_kept_once(database.execute(ROWS), acknowledged)


async def postgres_rounds(start_child, server: Postgres, rounds: int) -> None:
    chance = random.Random(rounds)
    url = server.database("killed")
    acknowledged: set[str] = set()
    for _ in range(rounds):
        acknowledged |= killed_at_random(start_child("load", url), chance)
    sink = PostgresSink(url)
    await sink.open(OWN_SCHEMA)
    assert_kept_once(await sink.read(Query(ROWS)), acknowledged)
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
