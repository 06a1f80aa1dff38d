"""Reads: through the chain, never stale after an acknowledgement, each served by its index."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest

import argo_mw_cache.plugin
import argo_mw_coalesce.plugin
from argo_mw import Argo, BadParameter
from argo_mw.plugin import RequestSent, context_of
from argo_mw.testing import capture_events
from argo_mw_persist import (
    Answer,
    Charge,
    Query,
    Signal,
    Spending,
    SqliteSink,
    UnknownSignal,
    Voice,
    plugin,
    store_of,
)
from argo_mw_persist.frames import COLUMNS
from argo_mw_persist.records import MICROSECONDS

NOW = 1_750_000_000 * MICROSECONDS
CHANNEL_DELAY = 5.0


def application() -> Argo:
    return Argo.open(
        {
            "argo": {"shared": "memory://", "strict": True},
            "plugins": {"persist": {"on_sigterm": False, "writer": {"linger": 0.0}}},
        },
        plugins={
            "persist": plugin,
            "cache": argo_mw_cache.plugin,
            "coalesce": argo_mw_coalesce.plugin,
        },
        installed=False,
    )


def made(number: int, symbol: str = "AAPL", **changes: object) -> Signal:
    return Signal(symbol, "BUY", 50.0 + number % 7, NOW + number, 100.0, **changes)


def answer(number: int, symbol: str = "AAPL", **changes: object) -> Answer:
    return Answer("opinion", f"k{number}", symbol, "glm", "", NOW + number, b"words", **changes)


def charge(number: int, upstream: str = "glm") -> Charge:
    return Charge(
        "default", "opinion", "A", upstream, NOW + number, "ok", 0.5, 0.25, 10, 20, 1.0, False
    )


async def record(argo: Argo, *records: Signal | Answer | Charge) -> None:
    store = store_of(argo)
    receipts = [await store.record(record) for record in records]
    for receipt in receipts:
        await receipt


async def test_no_read_after_an_acknowledged_write_is_stale():
    """Also not one that another caller has just had cached."""
    async with application() as argo:
        store = store_of(argo)
        for number in range(50):
            receipt = await store.record(made(number))
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
        ("performance", {}, lambda told: told[0].closed),
        ("answers", {"of": "opinion"}, lambda page: len(page.answers)),
        ("ledger", {}, len),
    ],
)
async def test_no_read_after_an_acknowledged_write_joins_one_that_began_before_it(
    monkeypatch, operation, parameters, found
):
    held, read, select = threading.Event(), threading.Event(), SqliteSink.select

    def read_and_wait(sink: SqliteSink, query: Query) -> object:
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
        await record(argo, kept, answer(1), charge(1))
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
        signal = made(1, voices=(Voice("trend", "BUY"), Voice("volume", "SELL")))
        await record(argo, signal)
        for _ in range(3):
            assert len(await argo.call("strongest", symbol="AAPL")) == 1
            assert (await argo.call("performance"))[0].closed == 0
        closed = await store_of(argo).close_signal(signal.id, exit_price=110.0)
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
        signal = Signal("AAPL", "SELL", 1.0, NOW, 100.0)
        await record(argo, signal)
        closed = await store_of(argo).close_signal(signal.id, exit_price=90.0)
        assert ("win", pytest.approx(0.1)) == (closed.outcome, closed.profit)


async def test_closing_asks_for_what_it_needs():
    async with application() as argo:
        store = store_of(argo)
        priceless = Signal("AAPL", "BUY", 1.0, NOW)
        await record(argo, priceless)
        with pytest.raises(UnknownSignal, match="signals history"):
            await store.close_signal(bytes(16), exit_price=1.0)
        with pytest.raises(BadParameter, match="exit_price or its profit"):
            await store.close_signal(priceless.id)
        with pytest.raises(BadParameter, match="pass profit="):
            await store.close_signal(priceless.id, exit_price=1.0)
        assert (await store.close_signal(priceless.id, profit=0.0)).outcome == "flat"
        assert (await store.close_signal(priceless.id, profit=-0.1)).outcome == "loss"


@pytest.mark.parametrize(
    "ending",
    [
        {"exit_price": float("nan")},
        {"exit_price": float("inf")},
        {"profit": float("nan")},
        {"profit": 0.1, "exit_price": float("nan")},
    ],
)
async def test_a_signal_is_not_closed_with_what_is_no_number(ending):
    async with application() as argo:
        signal = made(1, voices=(Voice("trend", "BUY"),))
        await record(argo, signal)
        with pytest.raises(BadParameter, match="finite numbers"):
            await store_of(argo).close_signal(signal.id, **ending)
        assert (await argo.call("latest", symbol="AAPL"))[0].is_active


async def test_nobody_closes_what_is_another_tenants():
    async with application() as argo:
        signal = made(1, tenant="acme")
        await record(argo, signal)
        with pytest.raises(UnknownSignal):
            await store_of(argo).close_signal(signal.id, profit=1.0, tenant="globex")


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
        store = store_of(argo)
        newest = (await argo.call("history", symbol="S1", limit=1)).signals[0]
        await store.close_signal(newest.id, profit=0.5)
        at = lambda n: datetime.fromtimestamp(NOW / MICROSECONDS + n, UTC)  # noqa: E731
        page = await argo.call("history", symbol="S1", since=at(5), until=at(12), active=True)
        assert [(s.timestamp - NOW) // MICROSECONDS for s in page.signals] == [11, 9, 7, 5]
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
        assert list(frame["symbol"]) == ["AAPL", "AAPL"]
        assert str(frame.index.tz) == "UTC"
        assert frame.index[0].value // 1000 == NOW + 1


async def test_recorded_answers_are_read_page_by_page_and_never_stale():
    async with application() as argo:
        some = [answer(n, "AAPL" if n % 2 else "IBM") for n in range(5)]
        await record(argo, *some)
        page = await argo.call("answers", of="opinion", limit=3)
        rest = await argo.call("answers", of="opinion", limit=3, after=page.next)
        assert (*page.answers, *rest.answers) == tuple(reversed(some))
        assert rest.next is None
        for number in range(5, 8):
            about_one = await argo.call("answers", of="opinion", symbol="IBM")
            assert {"IBM"} == {found.subject for found in about_one.answers}
            await record(argo, answer(number, "IBM"))
            again = await argo.call("answers", of="opinion", symbol="IBM")
            assert len(again.answers) == len(about_one.answers) + 1
        until = datetime.fromtimestamp(NOW / MICROSECONDS, UTC)
        assert (await argo.call("answers", of="opinion", until=until)).answers == ()


async def test_the_ledger_is_summed_up_and_never_stale():
    async with application() as argo:
        for number in range(1, 4):
            await record(argo, charge(number))
            [glm] = await argo.call("ledger")
            tokens = (10 * number, 20 * number)
            expected = Spending(
                "glm", "opinion", number, 0, float(number), *tokens, 0.25 * number, 0, 0.5
            )
            assert expected == glm
        await record(argo, charge(1, "claude"))
        assert ["glm", "claude"] == [one.upstream for one in await argo.call("ledger")]
        [claude] = await argo.call("ledger", upstream="claude", of="opinion")
        assert claude.calls == 1
        assert () == await argo.options(tenant="acme").call("ledger")


@pytest.mark.parametrize(
    ("operation", "parameters", "complaint"),
    [
        ("latest", {"symbol": "A", "limit": 0}, "limit is 0"),
        ("latest", {"symbol": "A", "limit": 10_001}, "1 to 10000"),
        ("latest", {"symbol": "A", "limit": True}, "limit is True"),
        ("history", {"form": "xml"}, "'rows' or 'frame'"),
        ("history", {"after": "nonsense"}, "no place in the history"),
        ("history", {"since": datetime(2026, 1, 1)}, "time zone"),
        ("answers", {"of": "opinion", "limit": 0}, "limit is 0"),
        ("answers", {"of": "opinion", "after": "nonsense"}, "no place in the history"),
        ("ledger", {"since": datetime(2026, 1, 1)}, "time zone"),
    ],
)
async def test_bad_questions_are_refused_with_the_way_out(operation, parameters, complaint):
    async with application() as argo:
        with pytest.raises(BadParameter, match=complaint):
            await argo.call(operation, **parameters)


async def test_a_caller_who_leaves_a_read_disturbs_no_other():
    async with application() as argo:
        await record(argo, made(1))
        leaving = asyncio.create_task(argo.call("latest", symbol="AAPL"))
        staying = asyncio.create_task(argo.call("latest", symbol="AAPL"))
        await asyncio.sleep(0)
        leaving.cancel()
        assert len(await staying) == 1
        await asyncio.gather(leaving, return_exceptions=True)


async def test_another_instance_sees_a_write_within_the_channels_delay(tmp_path):
    """Two instances on one database and one shared store: no restart, no expiry, one delay."""

    def instance(name: str) -> Argo:
        return Argo.open(
            {
                "argo": {
                    "shared": f"sqlite:///{tmp_path / 'shared.db'}",
                    "state_dir": str(tmp_path / name),
                    "strict": True,
                },
                "plugins": {
                    "persist": {
                        "on_sigterm": False,
                        "url": f"sqlite:///{tmp_path / 'signals.db'}",
                    }
                },
            },
            plugins={"persist": plugin, "cache": argo_mw_cache.plugin},
            installed=False,
        )

    async with instance("a") as writer, instance("b") as reader:
        await record(writer, made(1))
        while "cache" not in (await reader.outcome("latest", symbol="AAPL")).via:
            await asyncio.sleep(0)
        await record(writer, made(2))
        # The cache alone would serve the old answer for two minutes.
        async with asyncio.timeout(CHANNEL_DELAY):
            while len(await reader.call("latest", symbol="AAPL")) != 2:
                await asyncio.sleep(0)


async def test_what_reads_answer_can_be_kept_in_a_shared_cache():
    async with application() as argo:
        signal = made(1, voices=(Voice("trend", "BUY", 0.5, 1.0, "up"),))
        await record(argo, signal, answer(1), charge(1))
        await store_of(argo).close_signal(signal.id, profit=0.5)
        for operation, parameters in (
            ("latest", {"symbol": "AAPL"}),
            ("latest_of_many", {"symbols": ["AAPL", "IBM"]}),
            ("history", {}),
            ("performance", {}),
            ("answers", {"of": "opinion"}),
            ("ledger", {}),
        ):
            value = await argo.call(operation, **parameters)
            codecs = context_of(argo).codecs
            assert codecs.decode(codecs.encode(value)) == value
