"""SIGTERM with a full queue: what is queued is written before the process ends."""

from __future__ import annotations

import signal

from argo_mw_persist import PostgresSink, Query, SqliteSink
from argo_mw_persist.schema import OWN_SCHEMA

COUNT = 10_000


async def ended_by_sigterm(child, sink) -> None:
    lines = []
    for line in child.stdout:
        if line == "queued\n":
            child.terminate()
        else:
            lines.append(line.strip())
    assert child.wait() == -signal.SIGTERM
    await sink.open(OWN_SCHEMA)
    rows = await sink.read(Query("SELECT id FROM answers"))
    assert len(rows) == COUNT
    assert set() == set(lines) - {row[0].hex() for row in rows}
    await sink.aclose()


async def test_sigterm_writes_what_is_queued_to_sqlite(start_child, tmp_path):
    path = tmp_path / "answers.db"
    child = start_child("sigterm", f"sqlite:///{path}", COUNT)
    await ended_by_sigterm(child, SqliteSink(path))


async def test_sigterm_writes_what_is_queued_to_postgres(start_child, server):
    url = server.database("terminated")
    child = start_child("sigterm", url, COUNT)
    await ended_by_sigterm(child, PostgresSink(url))
