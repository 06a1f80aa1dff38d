"""Both sinks keep the contract; what is SQLite's or PostgreSQL's own."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import stat
from itertools import count
from pathlib import Path

import pytest
from attrs import evolve

from argo_mw import ConfigError, SecretUrl
from argo_mw.plugin import Row
from argo_mw_persist import (
    Answer,
    PersistConfig,
    PersistError,
    PostgresSink,
    Query,
    Schema,
    SchemaError,
    SinkUnavailable,
    SqliteOptions,
    SqliteSink,
)
from argo_mw_persist.dead_letters import write_sound
from argo_mw_persist.schema import OWN_SCHEMA, VERSION_TABLE
from argo_mw_persist.tables import ANSWERS, Table
from argo_mw_persist.testing import SAMPLES, SCHEMA, SinkConformance, sample

numbers = count()


class TestSqlite(SinkConformance):
    @pytest.fixture
    async def sink(self, tmp_path):
        sink = SqliteSink(tmp_path / "samples.db")
        await sink.open(SCHEMA)
        yield sink
        await sink.aclose()


class TestPostgres(SinkConformance):
    @pytest.fixture
    async def sink(self, server):
        sink = PostgresSink(server.database(f"conformance{next(numbers)}"))
        await sink.open(SCHEMA)
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
    await first.open(SCHEMA)
    await first.write([sample("A", 1)])
    await second.open(SCHEMA)
    assert [tuple(r) for r in await second.read(Query("SELECT count(*) FROM samples"))] == [(1,)]
    await first.aclose()
    await second.aclose()


def with_more(*steps: tuple[str, ...]) -> Schema:
    """The tables of a later version, in which samples have been migrated by *steps*."""
    later = evolve(SAMPLES, migrations=(*SAMPLES.migrations, *steps))
    return Schema(later if table is SAMPLES else table for table in SCHEMA)


async def test_a_newer_table_is_refused(fresh):
    sink = fresh()
    await sink.open(with_more(("ALTER TABLE samples ADD COLUMN note {text}",)))
    await sink.aclose()
    with pytest.raises(SchemaError, match="version 2 of the table 'samples'.*upgrade the plugin"):
        await fresh().open(SCHEMA)


async def test_an_older_table_is_migrated_forward_and_only_when_it_may_be(fresh):
    sink = fresh()
    await sink.open(SCHEMA)
    await sink.write([sample("A", 1)])
    await sink.aclose()
    later = with_more(("ALTER TABLE samples ADD COLUMN note {text}",))
    with pytest.raises(SchemaError, match="argo-mw db migrate"):
        await fresh().open(later, migrate=False)
    sink = fresh()
    await sink.open(later)
    assert [(None,)] == [tuple(row) for row in await sink.read(Query("SELECT note FROM samples"))]
    await sink.aclose()
    await sink.open(later, migrate=False)
    await sink.aclose()


async def test_tables_of_the_first_version_are_brought_to_this_one(fresh):
    """With their rows, and by two that open them at once."""
    columns = {name: kind for name, kind in ANSWERS.columns.items() if name != "lacks"}
    first_version = evolve(ANSWERS, columns=columns, migrations=ANSWERS.migrations[:1])
    sink = fresh()
    await sink.open(Schema([first_version]))
    answer = Answer("bars", "k", "A", None, "", 1, b"")
    await sink.write([Row("answers", answer.row().cells[:-1])])
    await sink.aclose()
    first, second = fresh(), fresh()
    await asyncio.gather(first.open(SCHEMA), second.open(SCHEMA))
    versions = await second.read(Query(f"SELECT name, version FROM {VERSION_TABLE}"))
    assert {table.name: table.version for table in SCHEMA} == dict(map(tuple, versions))
    assert len(versions) == len(list(SCHEMA))
    kept = await first.read(Query(f"SELECT {', '.join(ANSWERS.names)} FROM answers"))
    assert [answer] == [Answer.from_cells(cells) for cells in kept]
    await first.aclose()
    await second.aclose()


async def test_tables_of_a_plugin_that_is_not_there_any_more_are_left_alone(fresh):
    sink = fresh()
    await sink.open(SCHEMA)
    await sink.write([sample("A", 1)])
    await sink.aclose()
    await sink.open(OWN_SCHEMA, migrate=False)
    assert len(await sink.read(Query("SELECT id FROM samples"))) == 1
    await sink.aclose()


async def test_a_migration_that_fails_leaves_everything_as_it_was(fresh):
    sink = fresh()
    await sink.open(SCHEMA)
    await sink.aclose()
    broken = with_more(("CREATE TABLE half (a {int})", "ALTER TABLE missing ADD a {int}"))
    with pytest.raises(SinkUnavailable):
        await fresh().open(broken)
    sink = fresh()
    await sink.open(SCHEMA, migrate=False)
    with pytest.raises(SinkUnavailable):
        await sink.read(Query("SELECT a FROM half"))
    await sink.aclose()


async def test_postgres_sets_apart_what_it_will_never_take_and_keeps_the_rest(server):
    sink = PostgresSink(server.database("limits"))
    await sink.open(SCHEMA)
    chance = random.Random(1)
    # An index has no room for so much that cannot be compressed.
    long = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=30_000))
    sound = [sample("A", n) for n in range(100)]
    poison = [
        Answer("bars", "k", long, None, "", 1, b"").row(),
        Row("samples", (*sample("A", 1).cells[:3], "large", False, None)),
        Row("samples", (*sample("A", 1).cells[:2], "one", None, False, None)),
        Row("samples", (*sample("A", 1).cells[:3], {"no": "number"}, False, None)),
    ]
    written = await write_sound(sink, SCHEMA, [*sound[:50], *poison, *sound[50:]], now=1.0)
    assert set(poison) == set(written.refused)
    assert [(100,)] == await sink.read(Query("SELECT count(*) FROM samples"))
    assert [(4,)] == await sink.read(Query("SELECT count(*) FROM dead_letters"))
    await sink.aclose()


async def test_a_table_of_that_name_that_is_not_ours_is_not_touched(fresh):
    sink = fresh()
    await sink.open(Schema([]))
    await sink.change(Query("CREATE TABLE samples (id INTEGER PRIMARY KEY)"))
    await sink.aclose()
    with pytest.raises(SchemaError, match="'samples' that is not ours.*new database"):
        await fresh().open(SCHEMA)


async def test_a_table_of_many_columns_is_written_in_statements_that_sqlite_takes(tmp_path):
    """Some builds bind 32,766 values at most."""
    columns = {"id": "id", **{f"c{n}": "int" for n in range(99)}}
    create = ", ".join(f"{name} {{{kind}}}" for name, kind in columns.items())
    wide = Table("wide", columns, [(f"CREATE TABLE wide ({create}, UNIQUE (id))",)])
    sink = SqliteSink(tmp_path / "wide.db")
    await sink.open(Schema([wide]))
    await sink.write([Row("wide", (n.to_bytes(16, "big"), *range(99))) for n in range(3_000)])
    assert [(3_000,)] == await sink.read(Query("SELECT count(*) FROM wide"))
    await sink.aclose()


async def test_files_are_for_their_owner_only(tmp_path):
    path = tmp_path / "private" / "samples.db"
    sink = SqliteSink(path)
    await sink.open(SCHEMA)
    await sink.write([sample("A", 1)])
    copy = tmp_path / "copy.db"
    await sink.backup(copy)
    for file in (path, path.with_name("samples.db-wal"), copy):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await sink.aclose()


async def test_a_backup_holds_what_was_committed_and_overwrites_nothing(tmp_path):
    sink = SqliteSink(tmp_path / "samples.db")
    await sink.open(SCHEMA)
    await sink.write([sample("A", 1)])
    await sink.backup(tmp_path / "copy.db")
    with pytest.raises(PersistError, match="overwrites nothing"):
        await sink.backup(tmp_path / "copy.db")
    await sink.aclose()
    copy = SqliteSink(tmp_path / "copy.db")
    await copy.open(SCHEMA, migrate=False)
    assert len(await copy.read(Query("SELECT id FROM samples"))) == 1
    assert list(await copy.check()) == []
    await copy.aclose()


async def test_a_backup_ends_though_others_commit_at_its_every_step(tmp_path, monkeypatch):
    path, commits = tmp_path / "samples.db", count()
    sink = SqliteSink(path)
    await sink.open(SCHEMA)
    for _ in range(4):
        await sink.write([sample("A", n, content=b"x" * 2_000) for n in range(2_000)])
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    class Watched(sqlite3.Connection):
        def backup(self, target, **options):
            super().backup(target, progress=self.between, **options)

        def between(self, status, remaining, total):
            assert next(commits) < 50, "it begins anew with every commit"
            other.execute("UPDATE samples SET number = number + 1 WHERE rowid = 1")

    connect = sqlite3.connect
    monkeypatch.setattr("sqlite3.connect", lambda *a, **k: connect(*a, factory=Watched, **k))
    await sink.backup(tmp_path / "copy.db")
    monkeypatch.undo()
    other.close()
    await sink.aclose()
    copy = SqliteSink(tmp_path / "copy.db")
    await copy.open(SCHEMA, migrate=False)
    assert [(8_000,)] == await copy.read(Query("SELECT count(*) FROM samples"))
    assert [] == list(await copy.check())
    await copy.aclose()


async def test_a_backup_that_fails_leaves_no_half_copy(tmp_path, monkeypatch):
    sink = SqliteSink(tmp_path / "samples.db")
    await sink.open(SCHEMA)
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
    sink = SqliteSink(tmp_path / "samples.db")
    await sink.open(SCHEMA)
    # FULL is 2; asked of the connection that writes.
    with sink._writer.use() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert await sink.read(Query("PRAGMA journal_mode")) == [("wal",)]
    with pytest.raises(SinkUnavailable, match="readonly"):
        await sink.read(Query("DELETE FROM samples"))
    await sink.aclose()


async def test_the_log_is_copied_back_before_it_outgrows_its_bound(tmp_path):
    path = tmp_path / "samples.db"
    log, largest = path.with_name("samples.db-wal"), 0
    sink = SqliteSink(path, SqliteOptions(checkpoint_pages=100))
    await sink.open(SCHEMA)
    for _ in range(60):
        await sink.write([sample("A", n) for n in range(100)])
        largest = max(largest, log.stat().st_size)
    # A batch may go beyond the bound once; without one, this would come to over 8 MB.
    assert 100 * 4096 < largest < 300 * 4096
    await sink.aclose()
    assert not log.exists()


async def test_damage_is_found(tmp_path):
    path = tmp_path / "samples.db"
    sink = SqliteSink(path)
    await sink.open(SCHEMA)
    await sink.write([sample(f"S{n}", n) for n in range(5_000)])
    await sink.aclose()
    with path.open("r+b") as file:
        file.seek(4096 * 20)
        file.write(b"\xff" * 4096 * 3)
    await sink.open(SCHEMA)
    try:
        problems = list(await sink.check())
    except SinkUnavailable as error:
        problems = [str(error)]
    assert problems
    await sink.aclose()


async def test_a_sink_that_is_not_open_says_so(tmp_path):
    for sink in (SqliteSink(tmp_path / "a.db"), PostgresSink("postgresql://nobody@localhost/none")):
        with pytest.raises(SinkUnavailable, match="not open"):
            await sink.write([sample("A", 1)])


async def test_a_password_is_not_shown(tmp_path):
    url = "postgresql://argo:hunter2@127.0.0.1:1/signals"
    config = PersistConfig(url=SecretUrl(url))
    sink = config.sink(tmp_path)
    assert "hunter2" not in repr(config) + sink.place
    with pytest.raises(SinkUnavailable) as caught:
        await sink.open(SCHEMA)
    assert "hunter2" not in str(caught.value)


def test_urls_choose_the_sink(tmp_path):
    relative = PersistConfig(url=SecretUrl("sqlite:///a/b.db")).sink(tmp_path)
    absolute = PersistConfig(url=SecretUrl("sqlite:////a/b.db")).sink(tmp_path)
    # Where the program is now, so that it means the same after a change of its directory.
    assert (relative.path, str(absolute.path)) == (Path("a/b.db").absolute(), "/a/b.db")
    assert tmp_path / "persist.db" == PersistConfig().sink(tmp_path).path
    assert PersistConfig(url=SecretUrl("postgres://h/d")).sink(tmp_path).dialect == "postgresql"
    with pytest.raises(
        ConfigError, match="url begins with mysql://, which no sink serves.*sqlite://"
    ):
        PersistConfig(url=SecretUrl("mysql://h/d")).sink(tmp_path)


@pytest.mark.parametrize("bad", [{"readers": 0}, {"busy_timeout": -1}, {"checkpoint_pages": 0}])
def test_options_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        SqliteOptions(**bad)
