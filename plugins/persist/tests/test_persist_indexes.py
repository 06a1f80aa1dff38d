"""Each index serves the query that it was made for: EXPLAIN says so."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from argo_mw.plugin import MICROSECONDS, NO_COST, Charge, Row
from argo_mw_persist import (
    Answer,
    AnswerFilter,
    ChargeFilter,
    PostgresSink,
    Query,
    SqliteSink,
    queries,
)
from argo_mw_persist.costs import charge_row
from argo_mw_persist.testing import SCHEMA, sample

NOW = 1_750_000_000 * MICROSECONDS


async def explain(sink, query: Query) -> str:
    rows = await sink.read(Query(f"EXPLAIN QUERY PLAN {query.sql}", query.parameters))
    return "; ".join(str(row[3]) for row in rows)


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    """Enough rows, analysed, for the planner to be in earnest."""
    path = tmp_path_factory.mktemp("big") / "big.db"
    asyncio.run(fill(path))
    return path


@pytest.fixture
async def big(filled):
    sink = SqliteSink(filled)
    await sink.open(SCHEMA)
    yield sink
    await sink.aclose()


def answers(count: int) -> list[Answer]:
    times = range(NOW, NOW + count * MICROSECONDS, MICROSECONDS)
    return [Answer(f"o{n % 5}", "key", f"S{n % 40}", None, "", t, b"") for n, t in enumerate(times)]


def charges(count: int) -> list[Row]:
    start = NOW // MICROSECONDS
    return [
        charge_row(Charge(t, "", "opinion", "A", "glm", "ok", NO_COST))
        for t in range(start, start + count)
    ]


async def fill(path: Path) -> None:
    sink = SqliteSink(path)
    await sink.open(SCHEMA)
    await sink.write([sample("A", n) for n in range(5_000)])
    await sink.write([*(answer.row() for answer in answers(5_000)), *charges(5_000)])
    await sink.change(Query("ANALYZE"))
    await sink.aclose()


async def test_answers_are_served_by_their_operation_and_time_without_sorting_all(big):
    plan = await explain(big, queries.answers(AnswerFilter("o1"), 10, None))
    assert "USING INDEX answers_by_time (operation=?)" in plan


async def test_answers_about_a_subject_are_served_by_it(big):
    wanted = AnswerFilter("o1", subject="S1", since=NOW)
    plan = await explain(big, queries.answers(wanted, 10, (NOW + 10**9, bytes(16))))
    assert "answers_by_subject (operation=? AND subject=? AND timestamp>? AND timestamp<?)" in plan


async def test_the_charges_of_a_time_are_served_by_time(big):
    since = NOW + 4_990 * MICROSECONDS
    for query in (
        queries.spending(ChargeFilter(since=since)),
        queries.cost_totals("sqlite", since / MICROSECONDS + 86_400.0),
    ):
        assert "USING INDEX charges_by_time (timestamp>?)" in await explain(big, query)


async def test_the_oldest_rows_of_every_table_are_found_by_identifier_without_sorting(big):
    for table in SCHEMA:
        plan = await explain(big, queries.oldest(table, bytes(16), 500))
        assert f"sqlite_autoindex_{table.name}_1 (id<?)" in plan
        assert "B-TREE" not in plan


async def test_postgres_uses_the_same_indexes(server):
    sink = PostgresSink(server.database("indexes"))
    await sink.open(SCHEMA)
    await sink.write([sample("A", n) for n in range(5_000)])
    await sink.write([*(answer.row() for answer in answers(5_000)), *charges(5_000)])
    await sink.change(Query("ANALYZE"))
    about_one = AnswerFilter("o1", subject="S1")
    served = {
        "answers_by_subject": queries.answers(about_one, 10, None),
        "answers_by_time": queries.answers(AnswerFilter("o1"), 10, None),
        "charges_by_time": queries.spending(ChargeFilter(since=NOW + 4_990 * MICROSECONDS)),
        "samples_id_key": queries.oldest(SCHEMA["samples"], bytes(16), 10),
    }
    for index, query in served.items():
        rows = await sink.read(Query(f"EXPLAIN {query.sql}", query.parameters))
        assert index in " ".join(str(row[0]) for row in rows)
    await sink.aclose()
