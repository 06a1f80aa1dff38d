"""Reads: through the chain, never stale after an acknowledgement, each served by its index."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime

import argo_mw_cache.plugin
import pytest
from argo_mw import Argo, BadParameter, RequestSent
from argo_mw.testing import capture_events
from argo_mw_persist import Filter, Query, Signal, SqliteSink, UnknownSignal, Voice, plugin, store_of
from argo_mw_persist import queries
from argo_mw_persist.frames import COLUMNS
from argo_mw_persist.records import MICROSECONDS

NOW = 1_750_000_000 * MICROSECONDS


def application() -> Argo:
    return Argo.open(
        {
            "argo": {"shared": "memory://", "strict": True},
            "plugins": {"persist": {"on_sigterm": False, "writer": {"linger": 0.0}}},
        },
        plugins={"persist": plugin, "cache": argo_mw_cache.plugin},
        installed=False,
    )


def made(number: int, symbol: str = "AAPL", **changes: object) -> Signal:
    return Signal(symbol, "BUY", 50.0 + number % 7, NOW + number, 100.0, **changes)


async def record(argo: Argo, *signals: Signal) -> None:
    store = store_of(argo.context)
    receipts = [await store.record(signal) for signal in signals]
    for receipt in receipts:
        await receipt


async def test_no_read_after_an_acknowledged_write_is_stale():
    """Also not one that another caller has just had cached."""
    async with application() as argo:
        store = store_of(argo.context)
        for number in range(50):
            receipt = await store.record(made(number))
            while not receipt.done():
                await argo.call("latest", symbol="AAPL", limit=100)
            assert number + 1 == len(await argo.call("latest", symbol="AAPL", limit=100))
            # Let it be kept, so that the next round begins with a hit.
            await argo.call("latest", symbol="AAPL", limit=100)
            hit = await argo.outcome("latest", symbol="AAPL", limit=100)
        assert "cache" in hit.via


async def test_a_commit_invalidates_the_symbols_it_touched_and_no_others():
    async with application() as argo:
        await record(argo, made(1, "AAPL"), made(1, "IBM"))
        for _ in range(3):
            for symbol in ("AAPL", "IBM"):
                await argo.call("latest", symbol=symbol)
        await record(argo, made(2, "AAPL"))
        assert "cache" in (await argo.outcome("latest", symbol="IBM")).via
        fresh = await argo.outcome("latest", symbol="AAPL")
        assert "cache" not in fresh.via
        assert 2 == len(fresh.value)


async def test_closing_a_signal_is_seen_by_every_read_at_once():
    async with application() as argo:
        signal = made(1, voices=(Voice("trend", "BUY"), Voice("volume", "SELL")))
        await record(argo, signal)
        for _ in range(3):
            assert 1 == len(await argo.call("strongest", symbol="AAPL"))
            assert 0 == (await argo.call("performance"))[0].closed
        closed = await store_of(argo.context).close_signal(signal.id, exit_price=110.0)
        assert ("win", False) == (closed.outcome, closed.is_active)
        assert pytest.approx(0.1) == closed.profit
        assert () == await argo.call("strongest", symbol="AAPL")
        assert (closed,) == await argo.call("latest", symbol="AAPL")
        consensus, trend, volume = await argo.call("performance")
        assert ("", 1, 1.0) == (consensus.voice, consensus.closed, consensus.win_rate)
        assert ("trend", 1.0) == (trend.voice, trend.win_rate)
        assert ("volume", 0.0) == (volume.voice, volume.win_rate)
        assert pytest.approx(-0.1) == volume.mean_profit


async def test_a_short_signal_earns_when_the_price_falls():
    async with application() as argo:
        signal = Signal("AAPL", "SELL", 1.0, NOW, 100.0)
        await record(argo, signal)
        closed = await store_of(argo.context).close_signal(signal.id, exit_price=90.0)
        assert ("win", pytest.approx(0.1)) == (closed.outcome, closed.profit)


async def test_closing_asks_for_what_it_needs():
    async with application() as argo:
        store = store_of(argo.context)
        priceless = Signal("AAPL", "BUY", 1.0, NOW)
        await record(argo, priceless)
        with pytest.raises(UnknownSignal, match="signals history"):
            await store.close_signal(bytes(16), exit_price=1.0)
        with pytest.raises(BadParameter, match="exit_price or its profit"):
            await store.close_signal(priceless.id)
        with pytest.raises(BadParameter, match="pass profit="):
            await store.close_signal(priceless.id, exit_price=1.0)
        assert "flat" == (await store.close_signal(priceless.id, profit=0.0)).outcome
        assert "loss" == (await store.close_signal(priceless.id, profit=-0.1)).outcome


async def test_nobody_closes_what_is_another_tenants():
    async with application() as argo:
        signal = made(1, tenant="acme")
        await record(argo, signal)
        with pytest.raises(UnknownSignal):
            await store_of(argo.context).close_signal(signal.id, profit=1.0, tenant="globex")


async def test_the_newest_of_many_symbols_asked_at_once_are_one_query(monkeypatch):
    async with application() as argo:
        symbols = [f"S{n}" for n in range(200)]
        await record(argo, *(made(n, symbol) for symbol in symbols for n in range(2)))
        asked: list[Query] = []
        select = SqliteSink.select
        monkeypatch.setattr(
            SqliteSink, "select", lambda self, query: asked.append(query) or select(self, query)
        )
        seen = capture_events(argo)
        found = await argo.map("latest", symbols, limit=1)
        assert [1] * 200 == [len(outcome.value) for outcome in found.values()]
        assert symbols == [outcome.value[0].symbol for outcome in found.values()]
        assert 1 == len(asked)
        assert 1 == len(seen.of(RequestSent))
        together = await argo.call("latest_of_many", symbols=symbols, limit=1)
        assert 2 == len(asked)
        assert {s: o.value for s, o in found.items()} == together


async def test_history_is_paged_by_key_and_rows_that_come_meanwhile_move_none():
    async with application() as argo:
        await record(argo, *(made(n // 3) for n in range(100)))
        seen: list[Signal] = []
        after = None
        while True:
            page = await argo.call("history", symbol="AAPL", limit=9, after=after)
            seen += page.signals
            await record(argo, made(1_000 + len(seen)))
            after = page.next
            if after is None:
                break
        assert 100 == len({signal.id for signal in seen}) == len(seen)


async def test_history_takes_filters_together():
    async with application() as argo:
        await record(argo, *(made(n * MICROSECONDS, f"S{n % 2}") for n in range(20)))
        store = store_of(argo.context)
        newest = (await argo.call("history", symbol="S1", limit=1)).signals[0]
        await store.close_signal(newest.id, profit=0.5)
        at = lambda n: datetime.fromtimestamp(NOW / MICROSECONDS + n, UTC)  # noqa: E731
        page = await argo.call("history", symbol="S1", since=at(5), until=at(12), active=True)
        assert [11, 9, 7, 5] == [(s.timestamp - NOW) // MICROSECONDS for s in page.signals]
        assert (newest.id,) == tuple(
            s.id for s in (await argo.call("history", outcome="win")).signals
        )
        sure = await argo.call("history", least_confidence=56.0)
        assert {56.0} == {s.confidence for s in sure.signals}


async def test_history_comes_as_a_frame_too():
    async with application() as argo:
        frame = await argo.call("history", form="frame")
        assert (0, list(COLUMNS)) == (len(frame), list(frame.columns))
        await record(argo, made(0), made(1))
        frame = await argo.call("history", form="frame")
        assert ["AAPL", "AAPL"] == list(frame["symbol"])
        assert "UTC" == str(frame.index.tz)
        assert NOW + 1 == frame.index[0].value // 1000


@pytest.mark.parametrize(
    ("operation", "parameters", "complaint"),
    [
        ("latest", {"symbol": "A", "limit": 0}, "limit is 0"),
        ("latest", {"symbol": "A", "limit": 10_001}, "1 to 10000"),
        ("latest", {"symbol": "A", "limit": True}, "limit is True"),
        ("history", {"form": "xml"}, "'rows' or 'frame'"),
        ("history", {"after": "nonsense"}, "no place in the history"),
        ("history", {"since": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001
    ],
)
async def test_bad_questions_are_refused_with_the_way_out(operation, parameters, complaint):
    async with application() as argo:
        with pytest.raises(BadParameter, match=complaint):
            await argo.call(operation, **parameters)


async def explain(sink, query: Query) -> str:
    rows = await sink.read(Query(f"EXPLAIN QUERY PLAN {query.sql}", query.parameters))
    return "; ".join(str(row[3]) for row in rows)


@pytest.fixture(scope="module")
async def big(tmp_path_factory):
    """Enough rows, analysed, for the planner to be in earnest."""
    chance = random.Random(1)
    sink = SqliteSink(tmp_path_factory.mktemp("big") / "signals.db")
    await sink.open()
    signals = [
        Signal(
            f"S{chance.randrange(50)}",
            "BUY",
            chance.random(),
            NOW + n * MICROSECONDS,
            100.0,
            outcome=chance.choice([None, None, None, "win", "loss"]),
            is_active=chance.random() < 0.3,
        )
        for n in range(20_000)
    ]
    await sink.write([s.entry() for s in signals])
    await sink.change(Query("ANALYZE"))
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
    wanted = Filter(symbol="S1", since=NOW, least_confidence=0.5)
    plan = await explain(big, queries.history(wanted, 10, (NOW + 10**9, bytes(16))))
    assert "USING INDEX signals_by_symbol (symbol=? AND timestamp>? AND timestamp<?)" in plan


async def test_history_over_all_is_served_by_time_outcome_and_activity(big):
    wanted = Filter(since=NOW, until=NOW + 10**9, outcome="win", active=True)
    plan = await explain(big, queries.history(wanted, 10, None))
    assert "USING INDEX signals_by_time (timestamp>? AND timestamp<?)" in plan


async def test_performance_over_a_time_is_served_by_time_and_outcome(big):
    plan = await explain(big, queries.performance("sqlite", Filter(since=NOW + 19_000_000_000)))
    assert 2 == plan.count("USING INDEX signals_by_time (timestamp>?)")


async def test_the_strongest_are_served_by_symbol_activity_and_confidence_without_sorting(big):
    plan = await explain(big, queries.strongest("S1", 10, ""))
    assert "USING INDEX signals_by_confidence (symbol=? AND is_active=?)" in plan
    assert "B-TREE" not in plan


async def test_a_caller_who_leaves_a_read_disturbs_no_other():
    async with application() as argo:
        await record(argo, made(1))
        leaving = asyncio.create_task(argo.call("latest", symbol="AAPL"))
        staying = asyncio.create_task(argo.call("latest", symbol="AAPL"))
        await asyncio.sleep(0)
        leaving.cancel()
        assert 1 == len(await staying)
        await asyncio.gather(leaving, return_exceptions=True)
