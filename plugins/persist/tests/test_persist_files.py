"""What is acknowledged is in the files at the path, whatever becomes of them while they are open."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from argo_mw.plugin import Cell, Row, SecretUrl, SystemClock, Tasks
from argo_mw_persist import Query, SinkUnavailable, SqliteSink
from argo_mw_persist.config import PersistConfig
from argo_mw_persist.postgres import PostgresSink
from argo_mw_persist.spool import SpooledSink
from argo_mw_persist.testing import SCHEMA, sample

Change = Callable[[Path], None]
Inserts = Sequence[tuple[str, list[Cell]]]


def files(path: Path) -> list[Path]:
    return [path, Path(f"{path}-wal"), Path(f"{path}-shm")]


def remove(path: Path) -> None:
    for file in files(path):
        file.unlink(missing_ok=True)


def remove_database(path: Path) -> None:
    path.unlink()


def remove_log(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def remove_index(path: Path) -> None:
    Path(f"{path}-shm").unlink()


def remove_companions(path: Path) -> None:
    for file in files(path)[1:]:
        file.unlink()


def remove_directory(path: Path) -> None:
    shutil.rmtree(path.parent)


def move_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name(f"moved-{os.urandom(4).hex()}"))


def replace(path: Path) -> None:
    """Put a backup in its place, as a restore does."""
    backup = path.with_name("backup.db")
    with (
        contextlib.closing(sqlite3.connect(path)) as one,
        contextlib.closing(sqlite3.connect(backup)) as other,
    ):
        one.backup(other)
    backup.replace(path)
    for file in files(path)[1:]:
        file.unlink()


CHANGES = (
    remove,
    remove_database,
    remove_log,
    remove_index,
    remove_companions,
    remove_directory,
    move_directory,
    replace,
)
KEEPS = (remove_log, remove_index, remove_companions, replace)
"""Those that leave the rows of before where they are."""

changes = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)


def named(*names: str) -> list[Row]:
    return [sample(name, 1) for name in names]


def stored(path: Path) -> set[str]:
    """Return the names of the rows that a program finds which opens the file now."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {name for (name,) in connection.execute("SELECT name FROM samples")}


async def found(sink: SqliteSink) -> set[object]:
    return {name for (name,) in await sink.read(Query("SELECT name FROM samples"))}


@changes
async def test_what_is_acknowledged_after_the_files_have_changed_is_there(
    tmp_path: Path, change: Change
) -> None:
    """At once, for others and for the sink's own reads, and not only once the sink is closed."""
    path = tmp_path / "state" / "samples.db"
    sink = SqliteSink(path)
    await sink.open(SCHEMA)
    await sink.write(named("before"))
    await found(sink)
    change(path)
    await sink.write(named("after"))
    expected = {"before", "after"} if change in KEEPS else {"after"}
    assert expected == stored(path)
    assert expected == await found(sink)
    await sink.aclose()
    assert expected == stored(path)


@changes
async def test_reads_and_changes_follow_the_files(tmp_path: Path, change: Change) -> None:
    path = tmp_path / "state" / "samples.db"
    sink = SqliteSink(path)
    await sink.open(SCHEMA)
    await sink.write(named("before"))
    await found(sink)
    change(path)
    expected = {"before"} if change in KEEPS else set()
    assert expected == await found(sink)
    assert len(expected) == await sink.change(Query("UPDATE samples SET number = 2"))
    await sink.aclose()


@changes
async def test_two_sinks_on_one_file_follow_it_together(tmp_path: Path, change: Change) -> None:
    path = tmp_path / "state" / "samples.db"
    sinks = [SqliteSink(path), SqliteSink(path)]
    for number, sink in enumerate(sinks):
        await sink.open(SCHEMA)
        await sink.write(named(f"before {number}"))
        await found(sink)
    change(path)
    for number, sink in enumerate(sinks):
        await sink.write(named(f"after {number}"))
    after = {"after 0", "after 1"}
    expected = after | {"before 0", "before 1"} if change in KEEPS else after
    for sink in sinks:
        assert expected == await found(sink)
        await sink.aclose()
    assert expected == stored(path)


class Interrupted(SqliteSink):
    """A sink whose files change once, in the midst of the next write."""

    change: Change | None = None
    moment = ""

    def _insert(self, connection: sqlite3.Connection, inserts: Inserts) -> None:
        if self.moment == "before":
            self._interrupt()
        super()._insert(connection, inserts)
        if self.moment == "after":
            self._interrupt()

    def _interrupt(self) -> None:
        change, self.change = self.change, None
        if change is not None:
            change(self.path)


@changes
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_commit_to_files_that_go_at_that_moment_is_repeated(
    tmp_path: Path, change: Change, moment: str
) -> None:
    """Before it is acknowledged."""
    path = tmp_path / "state" / "samples.db"
    sink = Interrupted(path)
    await sink.open(SCHEMA)
    for turn in range(3):
        sink.change, sink.moment = change, moment
        await sink.write(named(f"one {turn}", f"other {turn}"))
        assert {f"one {turn}", f"other {turn}"} <= stored(path)
    await sink.aclose()


async def test_a_file_that_cannot_be_made_again_acknowledges_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state" / "samples.db"
    sink = SqliteSink(path)
    await sink.open(SCHEMA)
    await sink.write(named("before"))
    remove_directory(path)
    path.parent.write_text("no directory")
    with pytest.raises(SinkUnavailable):
        await sink.write(named("after"))
    path.parent.unlink()
    await sink.write(named("later"))
    assert {"later"} == stored(path)
    await sink.aclose()


@changes
async def test_rows_that_wait_in_the_spool_outlive_its_files(
    tmp_path: Path, change: Change
) -> None:
    """They are nowhere else, and nobody restores a spool."""
    path = tmp_path / "state" / "spool.db"
    spool = SqliteSink(path, rescues=True)
    await spool.open(SCHEMA)
    await spool.write(named("before"))
    change(path)
    await spool.write(named("after"))
    assert {"before", "after"} == await found(spool) == stored(path)
    change(path)
    await spool.aclose()
    assert {"before", "after"} == stored(path)


async def test_the_spool_of_the_configuration_rescues(tmp_path: Path) -> None:
    config = PersistConfig(SecretUrl("postgresql://nobody@127.0.0.1:1/none"))
    sink = config.bridged(
        tmp_path,
        clock=SystemClock(),
        tasks=Tasks(),
        on_warning=print,
        on_drained=lambda rows: None,
    )
    assert isinstance(sink, SpooledSink)
    assert isinstance(sink._behind, PostgresSink)
    assert sink._spool._rescues


async def test_a_relative_path_means_the_same_after_the_program_has_changed_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    sink = SqliteSink.from_url("sqlite:///rows.db")
    await sink.open(SCHEMA)
    monkeypatch.chdir(elsewhere)
    await sink.write(named("one"))
    assert {"one"} == await found(sink)
    remove(tmp_path / "rows.db")
    await sink.write(named("two"))
    assert {"two"} == await found(sink)
    await sink.aclose()
    assert {"two"} == stored(tmp_path / "rows.db")
    assert [] == [*elsewhere.iterdir()]
