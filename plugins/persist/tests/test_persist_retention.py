"""Retention: what is old goes, a little at a time, and nobody waits for it."""

from __future__ import annotations

import asyncio

import pytest

import argo_mw_cache.plugin
from argo_mw import Argo, ConfigError, SecretUrl
from argo_mw.plugin import NO_COST, Charge, Row, TimeOrderedIds
from argo_mw.testing import FakeClock, settle
from argo_mw_persist import (
    Answer,
    PersistConfig,
    PersistPlugin,
    Query,
    RecordStore,
    RetentionOptions,
    SinkUnavailable,
    SqliteSink,
    WriterOptions,
    store_of,
)
from argo_mw_persist.costs import charge_row
from argo_mw_persist.testing import SAMPLES, SCHEMA, sample

NOW = 1_750_000_000.0
DAY = 86_400.0


def made_at(seconds: float, count: int = 1, name: str = "A") -> list[Row]:
    new_id = TimeOrderedIds(lambda: seconds)
    return [
        Row("samples", (new_id(), name, n, None, False, None), SAMPLES.tags(name, False))
        for n in range(count)
    ]


async def kept(sink) -> int:
    [(count,)] = await sink.read(Query("SELECT count(*) FROM samples"))
    return count


def store_on(sink, clock, warnings=None, *, days=None, **retention) -> RecordStore:
    return RecordStore(
        sink,
        WriterOptions(linger=0.0),
        clock=clock,
        schema=SCHEMA,
        on_warning=([] if warnings is None else warnings).append,
        retention=RetentionOptions(days=days or {}, **retention),
    )


async def test_only_what_is_older_than_its_days_is_deleted(tmp_path):
    clock = FakeClock(wall=NOW)
    sink = SqliteSink(tmp_path / "samples.db")
    async with store_on(sink, clock, days={"samples": 7.0}) as store:
        old, young = made_at(NOW - 7 * DAY - 1, 3), made_at(NOW - 7 * DAY, 2)
        await sink.write([*old, *young])
        assert {"samples": 3} == await store.prune()
        found = {row[0] for row in await sink.read(Query("SELECT id FROM samples"))}
        assert {row.cells[0] for row in young} == found
        assert {"samples": 0} == await store.prune()


async def test_each_table_has_days_of_its_own(tmp_path):
    clock = FakeClock(wall=NOW)
    sink = SqliteSink(tmp_path / "samples.db")
    old = TimeOrderedIds(lambda: NOW - 10 * DAY)
    answer = Answer("bars", "k", "A", None, "", 1, b"", old()).row()
    charge = charge_row(Charge(1.0, "", "bars", "A", "glm", "ok", NO_COST), old())
    async with store_on(sink, clock, days={"answers": 9.0, "charges": 11.0}) as store:
        await sink.write([*made_at(NOW - 1_000 * DAY), answer, charge])
        assert {"answers": 1, "charges": 0} == await store.prune()
        left = {table.name: await count(sink, table.name) for table in SCHEMA}
        assert left == {
            "answers": 0,
            "charges": 1,
            "cost_source": 0,
            "dead_letters": 0,
            "samples": 1,
        }


async def count(sink, table: str) -> object:
    [(found,)] = await sink.read(Query(f"SELECT count(*) FROM {table}"))
    return found


async def test_a_batch_waits_for_one_small_statement_only(tmp_path):
    """Between two of them there is a pause, in which records are written and acknowledged."""
    clock = FakeClock(wall=NOW)
    sink = Noting(tmp_path / "samples.db")
    async with store_on(sink, clock, days={"samples": 1.0}, max_batch=10) as store:
        await sink.write(made_at(NOW - 2 * DAY, 35))
        pruning = asyncio.create_task(store.prune())
        for left in (25, 15, 5):
            while await kept(sink) != left:
                await asyncio.sleep(0)
            receipt = await store.record(sample("NEW", 1))
            store.writer.flush_soon()
            assert await receipt == "sink"
            await sink.change(Query("DELETE FROM samples WHERE name = 'NEW'"))
            assert not pruning.done()
            await settle()
            await clock.advance(1.0)
        assert {"samples": 35} == await pruning
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
    sink = Noting(tmp_path / "samples.db")
    async with store_on(sink, clock, days={"samples": 1.0}, interval=600.0):
        await sink.write(made_at(NOW - 2 * DAY, 3))
        await settle()
        assert await kept(sink) == 3
        await clock.advance(600.0)
        while await kept(sink):
            await asyncio.sleep(0)
    assert not [t for t in asyncio.all_tasks() if "retention" in t.get_name()]


async def test_a_sink_that_is_away_is_pruned_in_the_next_round(tmp_path):
    clock = FakeClock(wall=NOW)
    sink, warnings = Noting(tmp_path / "samples.db"), []
    async with store_on(sink, clock, warnings, days={"samples": 1.0}, interval=600.0):
        await sink.write(made_at(NOW - 2 * DAY, 3))
        await settle()
        sink.failing = True
        await clock.advance(600.0)
        while not warnings:
            await asyncio.sleep(0)
        assert warnings == ["old rows are kept until the next round: it is away"]
        sink.failing = False
        await settle()
        await clock.advance(600.0)
        while await kept(sink):
            await asyncio.sleep(0)


async def test_without_days_nothing_is_deleted_and_nothing_runs(tmp_path):
    sink = SqliteSink(tmp_path / "samples.db")
    async with store_on(sink, FakeClock(wall=NOW)) as store:
        await sink.write(made_at(0.0))
        assert {} == await store.prune()
        assert await kept(sink) == 1
        assert not [t for t in asyncio.all_tasks() if "retention" in t.get_name()]


async def test_a_deleted_row_is_no_longer_read_though_it_was_cached():
    table = {"on_sigterm": False, "retention": {"days": {"answers": 1.0}}}
    async with Argo.open(
        {"argo": {"shared": "memory://", "strict": True}, "plugins": {"persist": table}},
        plugins={"persist": PersistPlugin, "cache": argo_mw_cache.plugin.CachePlugin},
        installed=False,
    ) as argo:
        store = store_of(argo)
        old = TimeOrderedIds(lambda: NOW - 100 * DAY)
        await store.sink.write([Answer("bars", "k", "A", None, "", 1, b"", old()).row()])
        for _ in range(3):
            assert len((await argo.call("answers", of="bars")).answers) == 1
        assert {"answers": 1} == await store.prune()
        assert () == (await argo.call("answers", of="bars")).answers


async def test_two_that_prune_one_database_delete_each_row_once(tmp_path):
    clock = FakeClock(wall=NOW)
    path = tmp_path / "samples.db"
    async with (
        store_on(SqliteSink(path), clock, days={"samples": 1.0}) as first,
        store_on(SqliteSink(path), clock, days={"samples": 1.0}) as second,
    ):
        await first.sink.write(made_at(NOW - 2 * DAY, 100))
        results = await asyncio.gather(first.prune(), second.prune())
        assert sum(result["samples"] for result in results) == 100


@pytest.mark.parametrize(
    "bad",
    [
        {"days": {"samples": 0}},
        {"days": {"answers": -1}},
        {"interval": 0},
        {"max_batch": 0},
        {"max_batch": 10_001},
    ],
)
def test_options_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match="must be"):
        RetentionOptions(**bad)


def test_days_for_a_table_that_no_plugin_declares_are_refused(tmp_path):
    with pytest.raises(
        ConfigError, match="no installed plugin declares the table 'sample'.*samples"
    ):
        store_on(SqliteSink(tmp_path / "x.db"), FakeClock(), days={"sample": 1.0})


def test_the_retention_is_part_of_the_configuration():
    config = PersistConfig(url=SecretUrl(""), retention=RetentionOptions(days={"answers": 30.0}))
    assert {"answers": 30.0} == dict(config.retention.days)
