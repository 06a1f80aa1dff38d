"""Both sinks keep the contract; what is SQLite's or PostgreSQL's own."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import stat
from itertools import count

import pytest

from argo_mw import ConfigError, Secret
from argo_mw_persist import (
    Answer,
    Filter,
    PersistConfig,
    PersistError,
    PostgresSink,
    Query,
    SchemaError,
    Signal,
    SinkUnavailable,
    SqliteOptions,
    SqliteSink,
    Voice,
    queries,
    schema,
)
from argo_mw_persist.poison import write_sound
from argo_mw_persist.testing import SinkConformance

numbers = count()


class TestSqlite(SinkConformance):
    @pytest.fixture
    async def sink(self, tmp_path):
        sink = SqliteSink(tmp_path / "signals.db")
        await sink.open()
        yield sink
        await sink.aclose()


class TestPostgres(SinkConformance):
    @pytest.fixture
    async def sink(self, server):
        sink = PostgresSink(server.database(f"conformance{next(numbers)}"))
        await sink.open()
        yield sink
        await sink.aclose()


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request, tmp_path):
    """Makes handles on one database that no one has used yet."""
    if request.param == "sqlite":
        return lambda: SqliteSink(tmp_path / "fresh.db")
    url = request.getfixturevalue("server").database(f"fresh{next(numbers)}")
    return lambda: PostgresSink(url)


async def test_opening_again_changes_nothing(fresh):
    first, second = fresh(), fresh()
    await first.open()
    await first.write([Signal("A", "BUY", 1.0, 1).entry()])
    await second.open()
    assert [tuple(r) for r in await second.read(Query("SELECT count(*) FROM signals"))] == [(1,)]
    await first.aclose()
    await second.aclose()


async def test_a_newer_schema_is_refused(fresh):
    sink = fresh()
    await sink.open()
    await sink.change(Query(f"UPDATE {schema.VERSION_TABLE} SET version = {schema.VERSION + 1}"))
    await sink.aclose()
    with pytest.raises(SchemaError, match=f"version {schema.VERSION + 1}.*upgrade argo-mw-persist"):
        await fresh().open()


async def test_an_older_schema_is_migrated_forward_and_only_when_it_may_be(fresh, monkeypatch):
    sink = fresh()
    await sink.open()
    await sink.write([Signal("A", "BUY", 1.0, 1).entry()])
    await sink.aclose()
    steps = (*schema.MIGRATIONS, ("ALTER TABLE answers ADD COLUMN note {text}",))
    monkeypatch.setattr(schema, "MIGRATIONS", steps)
    monkeypatch.setattr(schema, "VERSION", len(steps))
    with pytest.raises(SchemaError, match="argo-mw db migrate"):
        await fresh().open(migrate=False)
    sink = fresh()
    await sink.open()
    assert list(await sink.read(Query("SELECT note FROM answers"))) == []
    assert len(await sink.read(Query("SELECT id FROM signals"))) == 1
    await sink.aclose()
    await sink.open(migrate=False)
    await sink.aclose()


async def test_tables_of_the_first_version_are_brought_to_this_one(fresh, monkeypatch):
    """With their rows, and by two that open them at once."""
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
    monkeypatch.setattr(schema, "VERSION", 1)
    sink = fresh()
    await sink.open()
    await sink.write([Answer("bars", "k", "A", None, "", 1, b"").entry()])
    await sink.aclose()
    monkeypatch.undo()
    first, second = fresh(), fresh()
    await asyncio.gather(first.open(), second.open())
    [(version,)] = await second.read(Query(f"SELECT version FROM {schema.VERSION_TABLE}"))
    assert (schema.VERSION, 1) == (version, len(await first.read(Query("SELECT id FROM answers"))))
    await first.aclose()
    await second.aclose()


async def test_a_migration_that_fails_leaves_everything_as_it_was(fresh, monkeypatch):
    sink = fresh()
    await sink.open()
    await sink.aclose()
    steps = (*schema.MIGRATIONS, ("CREATE TABLE half (a {int})", "ALTER TABLE missing ADD a {int}"))
    monkeypatch.setattr(schema, "MIGRATIONS", steps)
    monkeypatch.setattr(schema, "VERSION", len(steps))
    with pytest.raises(SinkUnavailable):
        await fresh().open()
    monkeypatch.undo()
    sink = fresh()
    await sink.open(migrate=False)
    with pytest.raises(SinkUnavailable):
        await sink.read(Query("SELECT a FROM half"))
    await sink.aclose()


async def test_postgres_buries_what_it_will_never_take_and_keeps_the_rest(server):
    sink = PostgresSink(server.database("limits"))
    await sink.open()
    chance = random.Random(1)
    # An index has no room for so much that cannot be compressed.
    long = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=30_000))
    sound = [Signal("A", "BUY", 1.0, n).entry() for n in range(100)]
    poison = [
        Answer("bars", "k", long, None, "", 1, b"").entry(),
        Signal("A", "BUY", 1.0, 1, price="dear").entry(),  # type: ignore[arg-type]
        Signal("A", 5, 1.0, 1).entry(),  # type: ignore[arg-type]
        Signal("A", "BUY", 1.0, 1, detail={"no": "JSON"}).entry(),  # type: ignore[arg-type]
    ]
    written = await write_sound(sink, [*sound[:50], *poison, *sound[50:]], now=1.0)
    assert set(poison) == set(written.refused)
    assert [(100,)] == await sink.read(Query("SELECT count(*) FROM signals"))
    assert [(4,)] == await sink.read(Query("SELECT count(*) FROM dead_letters"))
    await sink.aclose()


async def test_words_that_no_database_keeps_spoil_no_query(fresh):
    """A model's words may hold NUL or half a surrogate pair; performance looks inside all."""
    sink = fresh()
    await sink.open()
    voices = (Voice("tr\0end", "BUY", reason="up\0"), Voice("volume", "SELL", reason="\ud83d"))
    odd = Signal("A", "BUY", 1.0, 1, 100.0, voices, outcome="win", is_active=False, profit=0.5)
    await sink.write([odd.entry()])
    [row] = await sink.read(queries.by_id(odd.id, ""))
    assert ["up?", "?"] == [voice.reason for voice in Signal.from_row(row).voices]
    found = await sink.read(queries.performance(sink.dialect, Filter()))
    assert [("", 1, 1, 0.5), ("tr?end", 1, 1, 0.5), ("volume", 1, 0, -0.5)] == [*map(tuple, found)]
    await sink.aclose()


async def test_a_signal_that_does_not_say_how_much_it_earned_counts_as_it_ended(fresh):
    sink = fresh()
    await sink.open()
    await sink.write(
        [
            Signal("A", "BUY", 1.0, 1, voices=(Voice("a", "BUY"),), outcome=outcome).entry()
            for outcome in ("win", "loss", "flat", None)
        ]
    )
    found = await sink.read(queries.performance(sink.dialect, Filter()))
    assert [("", 3, 1, 0.0), ("a", 3, 0, 0.0)] == [tuple(row) for row in found]
    await sink.aclose()


async def test_a_signals_table_of_somebody_else_is_not_touched(tmp_path):
    path = tmp_path / "argo.db"
    with sqlite3.connect(path) as old:
        old.execute("CREATE TABLE signals (id INTEGER PRIMARY KEY)")
    with pytest.raises(SchemaError, match="argo-mw db import"):
        await SqliteSink(path).open()


async def test_files_are_for_their_owner_only(tmp_path):
    path = tmp_path / "private" / "signals.db"
    sink = SqliteSink(path)
    await sink.open()
    await sink.write([Signal("A", "BUY", 1.0, 1).entry()])
    copy = tmp_path / "copy.db"
    await sink.backup(copy)
    for file in (path, path.with_name("signals.db-wal"), copy):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await sink.aclose()


async def test_a_backup_holds_what_was_committed_and_overwrites_nothing(tmp_path):
    sink = SqliteSink(tmp_path / "signals.db")
    await sink.open()
    await sink.write([Signal("A", "BUY", 1.0, 1).entry()])
    await sink.backup(tmp_path / "copy.db")
    with pytest.raises(PersistError, match="overwrites nothing"):
        await sink.backup(tmp_path / "copy.db")
    await sink.aclose()
    copy = SqliteSink(tmp_path / "copy.db")
    await copy.open(migrate=False)
    assert len(await copy.read(Query("SELECT id FROM signals"))) == 1
    assert list(await copy.check()) == []
    await copy.aclose()


async def test_a_backup_ends_though_others_commit_at_its_every_step(tmp_path, monkeypatch):
    path, commits = tmp_path / "signals.db", count()
    sink = SqliteSink(path)
    await sink.open()
    for _ in range(4):
        await sink.write(
            [Signal("A", "BUY", 50.0, n, detail="x" * 2_000).entry() for n in range(2_000)]
        )
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    class Watched(sqlite3.Connection):
        def backup(self, target, **options):
            super().backup(target, progress=self.between, **options)

        def between(self, status, remaining, total):
            assert next(commits) < 50, "it begins anew with every commit"
            other.execute("UPDATE signals SET confidence = confidence + 1 WHERE rowid = 1")

    connect = sqlite3.connect
    monkeypatch.setattr("sqlite3.connect", lambda *a, **k: connect(*a, factory=Watched, **k))
    await sink.backup(tmp_path / "copy.db")
    monkeypatch.undo()
    other.close()
    await sink.aclose()
    copy = SqliteSink(tmp_path / "copy.db")
    await copy.open(migrate=False)
    assert [(8_000,)] == await copy.read(Query("SELECT count(*) FROM signals"))
    assert [] == list(await copy.check())
    await copy.aclose()


async def test_a_backup_that_fails_leaves_no_half_copy(tmp_path, monkeypatch):
    sink = SqliteSink(tmp_path / "signals.db")
    await sink.open()
    with pytest.raises(PersistError, match=r"none/copy\.db cannot be written \(No such file"):
        await sink.backup(tmp_path / "none" / "copy.db")

    def full(path: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched, pytest.raises(SinkUnavailable, match="free some space"):
        patched.setattr("argo_mw_persist.sqlite.sqlite3.connect", full)
        await sink.backup(tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
    await sink.aclose()


async def test_sqlite_is_durable_by_default_and_readers_cannot_write(tmp_path):
    sink = SqliteSink(tmp_path / "signals.db")
    await sink.open()
    # FULL is 2; asked of the connection that writes.
    assert sink._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert await sink.read(Query("PRAGMA journal_mode")) == [("wal",)]
    with pytest.raises(SinkUnavailable, match="readonly"):
        await sink.read(Query("DELETE FROM signals"))
    await sink.aclose()


async def test_the_log_is_copied_back_before_it_outgrows_its_bound(tmp_path):
    path = tmp_path / "signals.db"
    log, largest = path.with_name("signals.db-wal"), 0
    sink = SqliteSink(path, SqliteOptions(checkpoint_pages=100))
    await sink.open()
    for _ in range(60):
        await sink.write([Signal("A", "BUY", 1.0, n).entry() for n in range(100)])
        largest = max(largest, log.stat().st_size)
    # A batch may go beyond the bound once; without one, this would come to over 8 MB.
    assert 100 * 4096 < largest < 300 * 4096
    await sink.aclose()
    assert not log.exists()


async def test_damage_is_found(tmp_path):
    path = tmp_path / "signals.db"
    sink = SqliteSink(path)
    await sink.open()
    await sink.write([Signal(f"S{n}", "BUY", 1.0, n).entry() for n in range(5_000)])
    await sink.aclose()
    with path.open("r+b") as file:
        file.seek(4096 * 20)
        file.write(b"\xff" * 4096 * 3)
    await sink.open()
    try:
        problems = list(await sink.check())
    except SinkUnavailable as error:
        problems = [str(error)]
    assert problems
    await sink.aclose()


async def test_a_sink_that_is_not_open_says_so(tmp_path):
    for sink in (SqliteSink(tmp_path / "a.db"), PostgresSink("postgresql://nobody@localhost/none")):
        with pytest.raises(SinkUnavailable, match="not open"):
            await sink.write([Signal("A", "BUY", 1.0, 1).entry()])


async def test_a_password_is_not_shown(tmp_path):
    url = "postgresql://argo:hunter2@127.0.0.1:1/signals"
    config = PersistConfig(url=Secret(url))
    sink = config.sink(tmp_path)
    assert "hunter2" not in repr(config) + sink.place
    with pytest.raises(SinkUnavailable) as caught:
        await sink.open()
    assert "hunter2" not in str(caught.value)


def test_urls_choose_the_sink(tmp_path):
    relative = PersistConfig(url=Secret("sqlite:///a/b.db")).sink(tmp_path)
    absolute = PersistConfig(url=Secret("sqlite:////a/b.db")).sink(tmp_path)
    assert (str(relative.path), str(absolute.path)) == ("a/b.db", "/a/b.db")
    assert tmp_path / "persist.db" == PersistConfig().sink(tmp_path).path
    assert PersistConfig(url=Secret("postgres://h/d")).sink(tmp_path).dialect == "postgresql"
    with pytest.raises(ConfigError, match="no sink for 'mysql'.*sqlite://"):
        PersistConfig(url=Secret("mysql://h/d")).sink(tmp_path)


@pytest.mark.parametrize("bad", [{"readers": 0}, {"busy_timeout": -1}, {"checkpoint_pages": 0}])
def test_options_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        SqliteOptions(**bad)
