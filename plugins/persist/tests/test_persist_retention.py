"""Retention: what is old goes, a little at a time, and nobody waits for it."""

from __future__ import annotations

import asyncio

import pytest

import argo_mw_cache.plugin
from argo_mw import Argo, Secret
from argo_mw.testing import FakeClock, settle
from argo_mw_persist import (
    Answer,
    Charge,
    PersistConfig,
    Query,
    RetentionOptions,
    Signal,
    SinkUnavailable,
    SqliteSink,
    Store,
    WriterOptions,
    plugin,
    store_of,
)
from argo_mw_persist.ids import Ids, first_at
from argo_mw_persist.tables import TABLES, Entry

NOW = 1_750_000_000.0
DAY = 86_400.0


def made_at(seconds: float, count: int = 1, symbol: str = "A") -> list[Entry]:
    new_id = Ids(lambda: seconds)
    return [Signal(symbol, "BUY", 50.0, n, id=new_id()).entry() for n in range(count)]


async def kept(sink) -> int:
    [(count,)] = await sink.read(Query("SELECT count(*) FROM signals"))
    return count


def store_on(sink, clock, said=None, **retention) -> Store:
    options = RetentionOptions(**retention)
    words = [] if said is None else said
    linger = WriterOptions(linger=0.0)
    return Store(sink, linger, clock=clock, said=words.append, retention=options)


async def test_only_what_is_older_than_its_days_is_deleted(tmp_path):
    clock = FakeClock(wall=NOW)
    sink = SqliteSink(tmp_path / "signals.db")
    async with store_on(sink, clock, signals=7.0) as store:
        old, young = made_at(NOW - 7 * DAY - 1, 3), made_at(NOW - 7 * DAY, 2)
        await sink.write([*old, *young])
        assert {"signals": 3} == await store.prune()
        found = {row[0] for row in await sink.read(Query("SELECT id FROM signals"))}
        assert {entry.row[0] for entry in young} == found
        assert {"signals": 0} == await store.prune()


async def test_each_table_has_days_of_its_own(tmp_path):
    clock = FakeClock(wall=NOW)
    sink = SqliteSink(tmp_path / "signals.db")
    old = Ids(lambda: NOW - 10 * DAY)
    answer = Answer("bars", "k", "A", None, "", 1, b"", old()).entry()
    charge = Charge("", "bars", "A", "glm", 1, "ok", 0.1, 0.1, 1, 1, 1.0, False, old()).entry()
    async with store_on(sink, clock, answers=9.0, charges=11.0) as store:
        await sink.write([*made_at(NOW - 1_000 * DAY), answer, charge])
        assert {"answers": 1, "charges": 0} == await store.prune()
        assert [1, 0, 1, 0] == [await count(sink, table.name) for table in TABLES]


async def count(sink, table: str) -> object:
    [(found,)] = await sink.read(Query(f"SELECT count(*) FROM {table}"))
    return found


async def test_a_batch_waits_for_one_small_statement_only(tmp_path):
    """Between two of them there is a pause, in which records are written and acknowledged."""
    clock = FakeClock(wall=NOW)
    sink = Noting(tmp_path / "signals.db")
    async with store_on(sink, clock, signals=1.0, rows=10) as store:
        await sink.write(made_at(NOW - 2 * DAY, 35))
        pruning = asyncio.create_task(store.prune())
        for left in (25, 15, 5):
            while await kept(sink) != left:
                await asyncio.sleep(0)
            receipt = await store.record(Signal("NEW", "BUY", 50.0, 1))
            store.writer.hurry()
            assert await receipt == "sink"
            await sink.change(Query("DELETE FROM signals WHERE symbol = 'NEW'"))
            assert not pruning.done()
            await settle()
            await clock.advance(1.0)
        assert {"signals": 35} == await pruning
        assert max(sink.bound) == 10


class Noting(SqliteSink):
    """Notes how many rows each deletion names."""

    def __init__(self, path) -> None:
        super().__init__(path)
        self.bound: list[int] = []
        self.failing = False

    async def change(self, query: Query) -> int:
        self.bound.append(len(query.parameters))
        if self.failing:
            raise SinkUnavailable("it is away")
        return await super().change(query)


async def test_the_store_prunes_every_so_often_and_ends_with_it(tmp_path):
    clock = FakeClock(wall=NOW)
    sink = Noting(tmp_path / "signals.db")
    async with store_on(sink, clock, signals=1.0, every=600.0):
        await sink.write(made_at(NOW - 2 * DAY, 3))
        await settle()
        assert await kept(sink) == 3
        await clock.advance(600.0)
        while await kept(sink):
            await asyncio.sleep(0)
    assert not [t for t in asyncio.all_tasks() if "retention" in t.get_name()]


async def test_a_sink_that_is_away_is_pruned_in_the_next_round(tmp_path):
    clock = FakeClock(wall=NOW)
    sink, said = Noting(tmp_path / "signals.db"), []
    async with store_on(sink, clock, said, signals=1.0, every=600.0):
        await sink.write(made_at(NOW - 2 * DAY, 3))
        await settle()
        sink.failing = True
        await clock.advance(600.0)
        while not said:
            await asyncio.sleep(0)
        assert said == ["old rows are kept until the next round: it is away"]
        sink.failing = False
        await settle()
        await clock.advance(600.0)
        while await kept(sink):
            await asyncio.sleep(0)


async def test_without_days_nothing_is_deleted_and_nothing_runs(tmp_path):
    sink = SqliteSink(tmp_path / "signals.db")
    async with store_on(sink, FakeClock(wall=NOW)) as store:
        await sink.write(made_at(0.0))
        assert {} == await store.prune()
        assert await kept(sink) == 1
        assert not [t for t in asyncio.all_tasks() if "retention" in t.get_name()]


async def test_what_was_deleted_is_read_no_more_though_it_was_cached():
    table = {"on_sigterm": False, "retention": {"signals": 1.0}}
    async with Argo.open(
        {"argo": {"shared": "memory://", "strict": True}, "plugins": {"persist": table}},
        plugins={"persist": plugin, "cache": argo_mw_cache.plugin},
        installed=False,
    ) as argo:
        store = store_of(argo)
        await store.sink.write(made_at(NOW - 100 * DAY, symbol="AAPL"))
        for _ in range(3):
            assert len(await argo.call("latest", symbol="AAPL")) == 1
        assert {"signals": 1} == await store.prune()
        assert () == await argo.call("latest", symbol="AAPL")


async def test_two_that_prune_one_database_delete_each_row_once(tmp_path):
    clock = FakeClock(wall=NOW)
    path = tmp_path / "signals.db"
    async with (
        store_on(SqliteSink(path), clock, signals=1.0) as first,
        store_on(SqliteSink(path), clock, signals=1.0) as second,
    ):
        await first.sink.write(made_at(NOW - 2 * DAY, 100))
        results = await asyncio.gather(first.prune(), second.prune())
        assert sum(result["signals"] for result in results) == 100


def test_the_border_is_between_before_and_after():
    new_id = Ids(lambda: 5.0)
    assert Ids(lambda: 4.999)() < first_at(5.0) < new_id()
    assert first_at(-1.0) == bytes(16)


@pytest.mark.parametrize(
    "bad", [{"signals": 0}, {"answers": -1}, {"every": 0}, {"rows": 0}, {"rows": 10_001}]
)
def test_options_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match="must be"):
        RetentionOptions(**bad)


def test_days_are_configured_by_table():
    config = PersistConfig(url=Secret(""), retention=RetentionOptions(answers=30.0))
    assert {"answers": 30.0} == {table.name: days for table, days in config.retention.days.items()}
