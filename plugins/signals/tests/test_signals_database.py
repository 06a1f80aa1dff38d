"""Queries of recorded signals, on SQLite and PostgreSQL, each served by its index."""

from __future__ import annotations

import asyncio
import random
from itertools import count
from pathlib import Path

import pytest

from argo_mw.plugin import MICROSECONDS, Row
from argo_mw_persist import PostgresSink, SqliteSink
from argo_mw_persist import Query as SinkQuery
from argo_mw_persist.application import schema_of
from argo_mw_signals import RecordedSignal, RecordedVote, SignalFilter, queries
from argo_mw_signals.recording import DECLARATION

NOW = 1_750_000_000 * MICROSECONDS
SCHEMA = schema_of({"signals": [DECLARATION]})
numbers = count()


@pytest.fixture(params=["sqlite", "postgresql"])
async def sink(request, tmp_path):
    """An open sink without rows."""
    if request.param == "sqlite":
        sink = SqliteSink(tmp_path / "signals.db")
    else:
        sink = PostgresSink(request.getfixturevalue("server").database(f"signals{next(numbers)}"))
    await sink.open(SCHEMA)
    yield sink
    await sink.aclose()


async def read(sink, query: queries.SignalQuery) -> list[tuple]:
    return [tuple(row) for row in await sink.read(SinkQuery(*query))]


async def write(sink, *signals: RecordedSignal) -> None:
    await sink.write([signal.row() for signal in signals])


async def test_a_signal_comes_back_as_it_was_written(sink):
    voices = (RecordedVote("trend", "BUY", 0.5, 0.25, "\xfcber 200-day line \U0001f4c8"),)
    signal = RecordedSignal("BRK.B", "BUY", 71.5, 2**53, 1e-12, voices, "signals", "acme", "{}")
    await write(sink, signal)
    [row] = await read(sink, queries.by_id(signal.id, "acme"))
    assert signal == RecordedSignal.from_cells(row)


async def test_closing_changes_the_signal_that_it_names(sink):
    signal = RecordedSignal("A", "BUY", 50.0, 1, 100.0)
    await write(sink, signal)
    assert await sink.change(SinkQuery(*queries.close(signal.id, "win", 110.0, 0.1, 9))) == 1
    assert await sink.change(SinkQuery(*queries.close(bytes(16), "win", 110.0, 0.1, 9))) == 0
    [row] = await read(sink, queries.by_id(signal.id, ""))
    assert RecordedSignal.from_cells(row).outcome == "win"


async def test_paging_meets_every_row_once(sink):
    """Also where many rows are of the same moment."""
    signals = [RecordedSignal("A", "BUY", 1.0, number // 10) for number in range(95)]
    await write(sink, *signals)
    seen: list[RecordedSignal] = []
    after: tuple[int, bytes] | None = None
    while rows := await read(sink, queries.history(SignalFilter(symbol="A"), 7, after)):
        seen += [RecordedSignal.from_cells(row) for row in rows]
        after = (seen[-1].timestamp, seen[-1].id)
    assert sorted(signals, key=lambda s: (s.timestamp, s.id), reverse=True) == seen


async def test_the_newest_of_many_symbols_are_those_of_each(sink):
    """One query gives what as many single ones would."""
    await write(sink, *(RecordedSignal(f"S{n % 7}", "BUY", n % 3, n) for n in range(70)))
    symbols = [f"S{n}" for n in range(9)]
    together = await read(sink, queries.latest_of_many(sink.dialect, symbols, 3, ""))
    apart = [await read(sink, queries.latest(symbol, 3, "")) for symbol in symbols]
    assert [row for rows in apart for row in rows] == together
    assert len(together) == 21


async def test_performance_counts_what_each_voice_would_have_earned(sink):
    """A voice against the consensus earned the opposite; one that held counts nowhere."""
    voices = (
        RecordedVote("with", "BUY"),
        RecordedVote("against", "SELL"),
        RecordedVote("silent", "HOLD"),
    )
    signals = [RecordedSignal("A", "BUY", 1.0, n, 100.0, voices) for n in range(4)]
    await write(sink, *signals)
    for closed, profit in zip(signals, (0.2, 0.1, -0.1), strict=False):
        outcome = "win" if profit > 0 else "loss"
        await sink.change(SinkQuery(*queries.close(closed.id, outcome, None, profit, 9)))
    found = await read(sink, queries.performance(sink.dialect, SignalFilter()))
    assert {row[0]: (row[1], row[2], round(float(row[3]), 9)) for row in found} == {
        "": (3, 2, 0.2),
        "against": (3, 1, -0.2),
        "with": (3, 2, 0.2),
    }


async def test_a_tenant_reads_no_signals_of_another(sink):
    """Readers see what all tenants share and what is their own."""
    owners = ("", "acme", "globex")
    await write(sink, *(RecordedSignal("A", "BUY", 1.0, 1, tenant=owner) for owner in owners))
    for query in (
        queries.latest("A", 10, "acme"),
        queries.latest_of_many(sink.dialect, ["A"], 10, "acme"),
        queries.strongest("A", 10, "acme"),
        queries.history(SignalFilter(tenant="acme"), 10, None),
    ):
        assert {row[1] for row in await read(sink, query)} == {"", "acme"}


async def test_words_that_no_database_keeps_spoil_no_query(sink):
    """A model's words may hold NUL or half a surrogate pair; performance looks inside all."""
    voices = (
        RecordedVote("tr\0end", "BUY", reason="up\0"),
        RecordedVote("volume", "SELL", reason="\ud83d"),
    )
    odd = RecordedSignal(
        "A", "BUY", 1.0, 1, 100.0, voices, outcome="win", is_active=False, profit=0.5
    )
    await write(sink, odd)
    [row] = await read(sink, queries.by_id(odd.id, ""))
    assert ["up?", "?"] == [vote.reason for vote in RecordedSignal.from_cells(row).voices]
    found = await read(sink, queries.performance(sink.dialect, SignalFilter()))
    assert [("", 1, 1, 0.5), ("tr?end", 1, 1, 0.5), ("volume", 1, 0, -0.5)] == found


async def test_a_signal_without_a_profit_counts_as_it_ended(sink):
    voices = (RecordedVote("a", "BUY"),)
    outcomes = ("win", "loss", "flat", None)
    await write(
        sink,
        *(RecordedSignal("A", "BUY", 1.0, 1, voices=voices, outcome=one) for one in outcomes),
    )
    found = await read(sink, queries.performance(sink.dialect, SignalFilter()))
    assert [("", 3, 1, 0.0), ("a", 3, 0, 0.0)] == found


async def explain(sink, query: queries.SignalQuery) -> str:
    rows = await sink.read(SinkQuery(f"EXPLAIN QUERY PLAN {query.sql}", query.parameters))
    return "; ".join(str(row[3]) for row in rows)


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    """Enough rows, analysed, for the planner to be in earnest."""
    path = tmp_path_factory.mktemp("big") / "signals.db"
    asyncio.run(fill(path))
    return path


async def fill(path: Path) -> None:
    sink = SqliteSink(path)
    await sink.open(SCHEMA)
    await sink.write(many(20_000))
    await sink.change(SinkQuery("ANALYZE"))
    await sink.aclose()


def many(number: int) -> list[Row]:
    chance = random.Random(1)
    return [
        RecordedSignal(
            f"S{chance.randrange(50)}",
            "BUY",
            chance.random(),
            NOW + n * MICROSECONDS,
            100.0,
            outcome=chance.choice([None, None, None, "win", "loss"]),
            is_active=chance.random() < 0.3,
        ).row()
        for n in range(number)
    ]


@pytest.fixture
async def big(filled):
    sink = SqliteSink(filled)
    await sink.open(SCHEMA)
    yield sink
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
    wanted = SignalFilter(symbol="S1", since=NOW, min_confidence=0.5)
    plan = await explain(big, queries.history(wanted, 10, (NOW + 10**9, bytes(16))))
    assert "USING INDEX signals_by_symbol (symbol=? AND timestamp>? AND timestamp<?)" in plan


async def test_history_over_all_is_served_by_time_outcome_and_activity(big):
    wanted = SignalFilter(since=NOW, until=NOW + 10**9, outcome="win", active=True)
    plan = await explain(big, queries.history(wanted, 10, None))
    assert "USING INDEX signals_by_time (timestamp>? AND timestamp<?)" in plan


async def test_performance_over_a_time_is_served_by_time_and_outcome(big):
    wanted = SignalFilter(since=NOW + 19_000_000_000)
    plan = await explain(big, queries.performance("sqlite", wanted))
    assert plan.count("USING INDEX signals_by_time (timestamp>?)") == 2


async def test_the_strongest_are_served_by_symbol_activity_and_confidence_without_sorting(big):
    plan = await explain(big, queries.strongest("S1", 10, ""))
    assert "USING INDEX signals_by_confidence (symbol=? AND is_active=?)" in plan
    assert "B-TREE" not in plan


async def test_postgres_uses_the_same_indexes(server):
    sink = PostgresSink(server.database("indexes"))
    await sink.open(SCHEMA)
    await sink.write(many(5_000))
    await sink.change(SinkQuery("ANALYZE"))
    newest = SignalFilter(since=NOW + 4_990 * MICROSECONDS)
    served = {
        "signals_by_symbol": queries.latest("S1", 10, ""),
        "signals_by_confidence": queries.strongest("S1", 10, ""),
        "signals_by_time": queries.history(newest, 10, None),
    }
    for index, query in served.items():
        rows = await sink.read(SinkQuery(f"EXPLAIN {query.sql}", query.parameters))
        assert index in " ".join(str(row[0]) for row in rows)
    await sink.aclose()
