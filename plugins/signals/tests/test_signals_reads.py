"""Recorded signals through the chain: never stale after an acknowledgement."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest

import argo_mw_cache.plugin
import argo_mw_coalesce.plugin
from argo_mw import Argo, BadParameter, Outcome, UpstreamError
from argo_mw.plugin import MICROSECONDS, NO_COST, RequestSent, context_of
from argo_mw.testing import FakePlugin, Scripted, capture_events
from argo_mw_persist import PersistPlugin, SqliteSink, store_of
from argo_mw_persist import Query as SinkQuery
from argo_mw_signals import (
    Contribution,
    RecordedSignal,
    RecordedVote,
    Signal,
    SignalsPlugin,
    UnknownSignal,
    close_signal,
    recorded_signals,
)
from argo_mw_signals.frames import COLUMNS

NOW = 1_750_000_000 * MICROSECONDS


def application(**plugins: object) -> Argo:
    return Argo.open(
        {
            "argo": {"shared": "memory://", "strict": True},
            "plugins": {"persist": {"on_sigterm": False, "writer": {"linger": 0.0}}},
        },
        plugins={
            "persist": PersistPlugin,
            "signals": SignalsPlugin,
            "cache": argo_mw_cache.plugin.CachePlugin,
            "coalesce": argo_mw_coalesce.plugin,
            **plugins,
        },
        installed=False,
    )


def made(number: int, symbol: str = "AAPL", **changes: object) -> RecordedSignal:
    return RecordedSignal(symbol, "BUY", 50.0 + number % 7, NOW + number, 100.0, **changes)


async def record(argo: Argo, *signals: RecordedSignal) -> None:
    store = store_of(argo)
    receipts = [await store.record(signal.row()) for signal in signals]
    for receipt in receipts:
        await receipt


def answered() -> FakePlugin:
    """Another upstream that answers signals, so that none need be computed."""
    vote = Contribution("trend", 0.5, 0.5, 1.0, "up")
    signal = Signal("AAPL", "BUY", 0.7, 0.5, 100.0, 1.0, 2.0, (vote,))
    elsewhere = Scripted("elsewhere", {"signal"}, Outcome(signal, as_of=2.0))
    return FakePlugin(upstreams=[elsewhere])


async def test_a_signal_that_is_answered_can_be_read_afterwards():
    async with application(answers=answered()) as argo:
        await argo.call("signal", symbol="AAPL")
        await store_of(argo).flush()
        [kept] = await argo.call("latest", symbol="AAPL")
        assert (kept.action, kept.confidence, kept.upstream) == ("BUY", 0.7, "elsewhere")
        assert kept.voices == (RecordedVote("trend", "BUY", 0.5, 1.0, "up"),)
        assert (kept,) == await recorded_signals(argo).latest("AAPL")


async def test_a_signal_of_the_programs_own_is_recorded():
    async with application() as argo:
        signal = made(1)
        receipt = await recorded_signals(argo).record(signal)
        assert await receipt == "sink"
        assert (signal,) == await argo.call("latest", symbol="AAPL")


async def test_without_persist_signals_are_answered_and_reads_say_what_is_missing():
    async with Argo.open(
        {"argo": {"shared": "memory://", "strict": True}},
        plugins={"signals": SignalsPlugin, "answers": answered()},
        installed=False,
    ) as argo:
        assert (await argo.call("signal", symbol="AAPL")).action == "BUY"
        with pytest.raises(UpstreamError, match="install argo-mw-persist"):
            await argo.call("latest", symbol="AAPL")
        with pytest.raises(UpstreamError, match="no signals are recorded here"):
            await close_signal(argo, bytes(16), profit=0.1)


async def test_a_read_while_the_database_is_closed_is_an_error_of_an_upstream():
    async with application() as argo:
        await store_of(argo).sink.aclose()
        with pytest.raises(UpstreamError, match="not open"):
            await argo.call("history")


async def test_reads_cost_nothing():
    async with application() as argo:
        assert NO_COST == (await argo.outcome("latest", symbol="AAPL")).cost


async def test_no_read_after_an_acknowledged_write_is_stale():
    """Also not one that another caller has just had cached."""
    async with application() as argo:
        store = store_of(argo)
        for number in range(50):
            receipt = await store.record(made(number).row())
            while not receipt.done():
                await argo.call("latest", symbol="AAPL", limit=100)
                await asyncio.sleep(0)
            assert number + 1 == len(await argo.call("latest", symbol="AAPL", limit=100))
            # Let it be kept, so that the next round begins with a hit.
            await argo.call("latest", symbol="AAPL", limit=100)
            hit = await argo.outcome("latest", symbol="AAPL", limit=100)
        assert "cache" in hit.via


@pytest.mark.parametrize(
    ("operation", "parameters", "found"),
    [
        ("latest", {"symbol": "AAPL"}, len),
        ("strongest", {"symbol": "AAPL"}, len),
        ("latest_of_many", {"symbols": ["AAPL", "IBM"]}, lambda rows: len(rows["AAPL"])),
        ("history", {"symbol": "AAPL"}, lambda page: len(page.signals)),
        ("history", {}, lambda page: len(page.signals)),
        ("performance", {}, lambda rates: rates[0].closed),
    ],
)
async def test_no_read_after_an_acknowledged_write_joins_one_that_began_before_it(
    monkeypatch, operation, parameters, found
):
    held, read, select = threading.Event(), threading.Event(), SqliteSink.select

    def read_and_wait(sink: SqliteSink, query: SinkQuery) -> object:
        rows = select(sink, query)
        read.set()
        assert held.wait(60)
        return rows

    async with application() as argo:
        monkeypatch.setattr(SqliteSink, "select", read_and_wait)
        early = asyncio.create_task(argo.call(operation, **parameters))
        assert await asyncio.to_thread(read.wait, 60)
        won = {"outcome": "win", "is_active": False, "profit": 0.1}
        kept = made(1, **won if operation == "performance" else {})
        await record(argo, kept)
        late = asyncio.create_task(argo.call(operation, **parameters))
        held.set()
        assert (0, 1) == (found(await early), found(await late))


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
        assert len(fresh.value) == 2


async def test_closing_a_signal_is_seen_by_every_read_at_once():
    async with application() as argo:
        signal = made(1, voices=(RecordedVote("trend", "BUY"), RecordedVote("volume", "SELL")))
        await record(argo, signal)
        for _ in range(3):
            assert len(await argo.call("strongest", symbol="AAPL")) == 1
            assert (await argo.call("performance"))[0].closed == 0
        closed = await close_signal(argo, signal.id, exit_price=110.0)
        assert (closed.outcome, closed.is_active) == ("win", False)
        assert pytest.approx(0.1) == closed.profit
        assert await argo.call("strongest", symbol="AAPL") == ()
        assert (closed,) == await argo.call("latest", symbol="AAPL")
        consensus, trend, volume = await argo.call("performance")
        assert (consensus.voice, consensus.closed, consensus.win_rate) == ("", 1, 1.0)
        assert (trend.voice, trend.win_rate) == ("trend", 1.0)
        assert (volume.voice, volume.win_rate) == ("volume", 0.0)
        assert pytest.approx(-0.1) == volume.mean_profit


async def test_a_short_signal_earns_when_the_price_falls():
    async with application() as argo:
        signal = RecordedSignal("AAPL", "SELL", 1.0, NOW, 100.0)
        await record(argo, signal)
        closed = await close_signal(argo, signal.id, exit_price=90.0)
        assert ("win", pytest.approx(0.1)) == (closed.outcome, closed.profit)


async def test_closing_asks_for_what_it_needs():
    async with application() as argo:
        priceless = RecordedSignal("AAPL", "BUY", 1.0, NOW)
        await record(argo, priceless)
        with pytest.raises(UnknownSignal, match="signals history"):
            await close_signal(argo, bytes(16), exit_price=1.0)
        with pytest.raises(BadParameter, match="exit_price or its profit"):
            await close_signal(argo, priceless.id)
        with pytest.raises(BadParameter, match="pass profit="):
            await close_signal(argo, priceless.id, exit_price=1.0)
        assert (await close_signal(argo, priceless.id, profit=0.0)).outcome == "flat"
        assert (await close_signal(argo, priceless.id, profit=-0.1)).outcome == "loss"


@pytest.mark.parametrize(
    "ending",
    [
        {"exit_price": float("nan")},
        {"exit_price": float("inf")},
        {"profit": float("nan")},
        {"profit": 0.1, "exit_price": float("nan")},
    ],
)
async def test_a_signal_is_not_closed_with_a_value_that_is_no_number(ending):
    async with application() as argo:
        signal = made(1, voices=(RecordedVote("trend", "BUY"),))
        await record(argo, signal)
        with pytest.raises(BadParameter, match="finite numbers"):
            await close_signal(argo, signal.id, **ending)
        assert (await argo.call("latest", symbol="AAPL"))[0].is_active


async def test_a_tenant_closes_no_signal_of_another():
    async with application() as argo:
        signal = made(1, tenant="acme")
        await record(argo, signal)
        with pytest.raises(UnknownSignal):
            await close_signal(argo, signal.id, profit=1.0, tenant="globex")


async def test_the_newest_of_many_symbols_asked_at_once_are_one_query(monkeypatch):
    async with application() as argo:
        symbols = [f"S{n}" for n in range(200)]
        await record(argo, *(made(n, symbol) for symbol in symbols for n in range(2)))
        asked: list[tuple[object, ...]] = []
        read = SqliteSink._read_newest
        monkeypatch.setattr(
            SqliteSink, "_read_newest", lambda *what: asked.append(what) or read(*what)
        )
        seen = capture_events(argo)
        found = await argo.map("latest", symbols, limit=1)
        assert [len(outcome.value) for outcome in found.values()] == [1] * 200
        assert symbols == [outcome.value[0].symbol for outcome in found.values()]
        assert len(asked) == 1
        assert len(seen.of(RequestSent)) == 1
        together = await argo.call("latest_of_many", symbols=symbols, limit=1)
        assert len(asked) == 2
        assert {s: o.value for s, o in found.items()} == together


async def test_history_is_paged_by_key_and_rows_that_come_meanwhile_move_none():
    async with application() as argo:
        await record(argo, *(made(n // 3) for n in range(100)))
        seen: list[RecordedSignal] = []
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
        newest = (await argo.call("history", symbol="S1", limit=1)).signals[0]
        await close_signal(argo, newest.id, profit=0.5)
        at = lambda n: datetime.fromtimestamp(NOW / MICROSECONDS + n, UTC)  # noqa: E731
        page = await argo.call("history", symbol="S1", since=at(5), until=at(12), active=True)
        assert [(s.timestamp - NOW) // MICROSECONDS for s in page.signals] == [11, 9, 7, 5]
        assert (newest.id,) == tuple(
            s.id for s in (await argo.call("history", outcome="win")).signals
        )
        sure = await argo.call("history", min_confidence=56.0)
        assert {56.0} == {s.confidence for s in sure.signals}


async def test_history_comes_as_a_frame_too():
    async with application() as argo:
        frame = await argo.call("history", form="frame")
        assert (0, list(COLUMNS)) == (len(frame), list(frame.columns))
        await record(argo, made(0), made(1))
        frame = await argo.call("history", form="frame")
        assert list(frame["symbol"]) == ["AAPL", "AAPL"]
        assert str(frame.index.tz) == "UTC"
        assert frame.index[0].value // 1000 == NOW + 1


@pytest.mark.parametrize(
    ("operation", "parameters", "complaint"),
    [
        ("latest", {"symbol": "A", "limit": 0}, "limit is 0"),
        ("latest", {"symbol": "A", "limit": 10_001}, "1 to 10000"),
        ("latest", {"symbol": "A", "limit": True}, "limit is True"),
        ("history", {"form": "xml"}, "'rows' or 'frame'"),
        ("history", {"after": "nonsense"}, "not a place in the history"),
        ("history", {"since": datetime(2026, 1, 1)}, "time zone"),
    ],
)
async def test_bad_questions_are_refused_with_the_way_out(operation, parameters, complaint):
    async with application() as argo:
        with pytest.raises(BadParameter, match=complaint):
            await argo.call(operation, **parameters)


async def test_signals_that_retention_deletes_are_read_no_more_though_they_were_cached():
    retention = {"days": {"signals": 1.0}}
    config = {
        "argo": {"shared": "memory://", "strict": True},
        "plugins": {"persist": {"on_sigterm": False, "retention": retention}},
    }
    plugins = {
        "persist": PersistPlugin,
        "signals": SignalsPlugin,
        "cache": argo_mw_cache.plugin.CachePlugin,
    }
    async with Argo.open(config, plugins=plugins, installed=False) as argo:
        # An identifier of 1970: it is what age goes by.
        await record(argo, made(1, id=bytes(16)))
        for _ in range(3):
            assert len(await argo.call("latest", symbol="AAPL")) == 1
        assert {"signals": 1} == await store_of(argo).prune()
        assert () == await argo.call("latest", symbol="AAPL")


async def test_what_reads_answer_can_be_kept_in_a_shared_cache():
    async with application() as argo:
        signal = made(1, voices=(RecordedVote("trend", "BUY", 0.5, 1.0, "up"),))
        await record(argo, signal)
        await close_signal(argo, signal.id, profit=0.5)
        for operation, parameters in (
            ("latest", {"symbol": "AAPL"}),
            ("latest_of_many", {"symbols": ["AAPL", "IBM"]}),
            ("history", {}),
            ("performance", {}),
        ):
            value = await argo.call(operation, **parameters)
            codecs = context_of(argo).codecs
            assert codecs.decode(codecs.encode(value)) == value
