"""Each index serves the query that it was made for: EXPLAIN says so."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from argo_mw_persist import Filter, PostgresSink, Query, Signal, SqliteSink, queries
from argo_mw_persist.records import MICROSECONDS

NOW = 1_750_000_000 * MICROSECONDS


async def explain(sink, query: Query) -> str:
    rows = await sink.read(Query(f"EXPLAIN QUERY PLAN {query.sql}", query.parameters))
    return "; ".join(str(row[3]) for row in rows)


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    """Enough rows, analysed, for the planner to be in earnest."""
    path = tmp_path_factory.mktemp("big") / "signals.db"
    asyncio.run(fill(path))
    return path


@pytest.fixture
async def big(filled):
    sink = SqliteSink(filled)
    await sink.open()
    yield sink
    await sink.aclose()


def signals(count: int) -> list[Signal]:
    chance = random.Random(1)
    return [
        Signal(
            f"S{chance.randrange(50)}",
            "BUY",
            chance.random(),
            NOW + n * MICROSECONDS,
            100.0,
            outcome=chance.choice([None, None, None, "win", "loss"]),
            is_active=chance.random() < 0.3,
        )
        for n in range(count)
    ]


async def fill(path: Path) -> None:
    sink = SqliteSink(path)
    await sink.open()
    await sink.write([s.entry() for s in signals(20_000)])
    await sink.change(Query("ANALYZE"))
    await sink.aclose()


async def test_latest_is_served_by_symbol_time_and_confidence_without_sorting(big):
    plan = await explain(big, queries.latest("S1", 10, "acme"))
    assert "USING INDEX signals_by_symbol (symbol=?)" in plan
    assert "B-TREE" not in plan


async def test_latest_of_many_searches_the_index_for_each_symbol(big):
    plan = await explain(big, queries.latest_of_many("sqlite", ["S1", "S2"], 10, ""))
    assert "USING COVERING INDEX signals_by_symbol (symbol=?)" in plan
    assert "SCAN s" not in plan


async def test_a_symbols_history_is_served_by_symbol_and_time(big):
    wanted = Filter(symbol="S1", since=NOW, least_confidence=0.5)
    plan = await explain(big, queries.history(wanted, 10, (NOW + 10**9, bytes(16))))
    assert "USING INDEX signals_by_symbol (symbol=? AND timestamp>? AND timestamp<?)" in plan


async def test_history_over_all_is_served_by_time_outcome_and_activity(big):
    wanted = Filter(since=NOW, until=NOW + 10**9, outcome="win", active=True)
    plan = await explain(big, queries.history(wanted, 10, None))
    assert "USING INDEX signals_by_time (timestamp>? AND timestamp<?)" in plan


async def test_performance_over_a_time_is_served_by_time_and_outcome(big):
    plan = await explain(big, queries.performance("sqlite", Filter(since=NOW + 19_000_000_000)))
    assert plan.count("USING INDEX signals_by_time (timestamp>?)") == 2


async def test_the_strongest_are_served_by_symbol_activity_and_confidence_without_sorting(big):
    plan = await explain(big, queries.strongest("S1", 10, ""))
    assert "USING INDEX signals_by_confidence (symbol=? AND is_active=?)" in plan
    assert "B-TREE" not in plan


async def test_postgres_uses_the_same_indexes(server):
    sink = PostgresSink(server.database("indexes"))
    await sink.open()
    await sink.write([s.entry() for s in signals(5_000)])
    await sink.change(Query("ANALYZE signals"))
    served = {
        "signals_by_symbol": queries.latest("S1", 10, ""),
        "signals_by_confidence": queries.strongest("S1", 10, ""),
        "signals_by_time": queries.history(Filter(since=NOW + 4_990 * MICROSECONDS), 10, None),
    }
    for index, query in served.items():
        rows = await sink.read(Query(f"EXPLAIN {query.sql}", query.parameters))
        assert index in " ".join(str(row[0]) for row in rows)
    await sink.aclose()
