"""Several processes on one database, from the creation of its tables on."""

from __future__ import annotations

import pytest

from argo_mw_persist import PostgresSink, Query, SqliteSink
from argo_mw_persist.schema import OWN_SCHEMA


@pytest.mark.parametrize("processes", [2])
async def test_processes_on_one_sqlite_file_meet_no_error(start_child, tmp_path, processes):
    path = tmp_path / "answers.db"
    await all_recorded(start_child, f"sqlite:///{path}", SqliteSink(path), processes)


@pytest.mark.parametrize("processes", [8])
async def test_processes_on_one_postgres_meet_no_error(start_child, server, processes):
    url = server.database("together")
    await all_recorded(start_child, url, PostgresSink(url), processes)


async def all_recorded(start_child, url, sink, processes: int) -> None:
    children = [
        start_child("finite", url, 2_000, state=f"state{number}") for number in range(processes)
    ]
    said = [child.communicate()[0].split() for child in children]
    assert [0] * processes == [child.returncode for child in children]
    await sink.open(OWN_SCHEMA)
    rows = await sink.read(Query("SELECT id FROM answers"))
    assert sorted(row[0].hex() for row in rows) == sorted(line for lines in said for line in lines)
    assert 2_000 * processes == len(rows)
    await sink.aclose()
