"""The newest signal of many symbols is that of the table itself, however rows come or go."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_mw import ConfigError
from argo_mw.testing import FakeClock
from argo_mw_persist import (
    Database,
    Query,
    RecordStore,
    SinkUnavailable,
    SqliteOptions,
    SqliteSink,
    WriterOptions,
)
from argo_mw_persist.application import schema_of
from argo_mw_persist.sqlite import MAX_HELD
from argo_mw_persist.sqlite_newest import NewestEntries
from argo_mw_signals import RecordedSignal, RecordedSignals, RecordedVote, queries
from argo_mw_signals.recorded import TABLE
from argo_mw_signals.recording import DECLARATION

SCHEMA = schema_of({"signals": [DECLARATION]})
SYMBOLS = ["A", "B", "C D", "never"]
TENANTS = ["", "acme", "globex"]
ENTRIES = "signals_newest"


class Book:
    """Signals recorded in a file, and what the table itself says of them."""

    def __init__(self, path: Path, *, held: int = MAX_HELD) -> None:
        self.path = path
        # One: the first read of another opens the file, so that everything is read anew.
        self.sink = SqliteSink(path, SqliteOptions(readers=1), held=held)
        self.recorded = RecordedSignals()
        self.store = RecordStore(self.sink, WriterOptions(), clock=FakeClock(), schema=SCHEMA)
        self.database = Database(lambda: self.store)
        self.recorded.use(self.database)

    async def __aenter__(self) -> Book:
        await self.sink.open(SCHEMA)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sink.aclose()

    async def write(self, *signals: RecordedSignal) -> None:
        await self.sink.write([signal.row() for signal in signals])

    async def plain(self, symbol: str, tenant: str) -> tuple[RecordedSignal, ...]:
        rows = await self.sink.read(Query(*queries.latest(symbol, 1, tenant)))
        return tuple(RecordedSignal.from_cells(row) for row in rows)

    async def check(self, symbols: Sequence[str] = SYMBOLS) -> None:
        for tenant in TENANTS:
            expected = {symbol: await self.plain(symbol, tenant) for symbol in symbols}
            assert expected == await self.recorded.latest_of_many(symbols, 1, tenant=tenant)

    async def unknown(self, tenant: str = "") -> set[str]:
        """Return the symbols of which the table itself would be asked, were nothing held."""
        entries = self.sink._entries[TABLE]
        found = entries.found(await self.sink.read(entries.query(SYMBOLS, tenant)))
        return set(SYMBOLS if found is None else found.unknown)

    @property
    def held(self) -> int:
        """How many newest rows are in memory."""
        held = self.sink._newest[TABLE]._held
        return 0 if held is None else len(held)

    def statements(self) -> list[str]:
        """Return a list to which each statement of readers is added from now on."""
        seen: list[str] = []
        for reader in self.sink._readers:
            with reader.use() as connection:
                connection.set_trace_callback(seen.append)
        return seen

    @staticmethod
    def asked(statements: Sequence[str]) -> int:
        """Return how many of *statements* were not made by another."""
        return sum(not text.startswith("-- ") for text in statements)

    async def caught_up(self) -> None:
        """Return once every newest row has an entry; a change waits for the writer's thread."""
        for _ in range(1_000):
            if not await self.unknown() | await self.unknown("acme"):
                return
            await self.recorded.latest_of_many(SYMBOLS, 1)
            await self.sink.change(Query("DELETE FROM signals WHERE 0"))
        pytest.fail("the newest rows are never at hand")

    async def catch_up(self) -> None:
        """Make entries of all rows, whether or not a read has asked for that."""
        for _ in range(100):
            self.sink._catch_up_later()
            await self.sink.change(Query("DELETE FROM signals WHERE 0"))
            [(upto, last)] = await self.sink.read(
                Query("SELECT upto, (SELECT max(rowid) FROM signals) FROM argo_newest")
            )
            if upto == (last or 0):
                return

    def foreign(self, sql: str, parameters: Sequence[object] = ()) -> None:
        """Change the file as a program does that knows of no entries."""
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=30)
        connection.execute(sql, parameters)
        connection.close()


@pytest.fixture
async def book(tmp_path):
    async with Book(tmp_path / "signals.db") as book:
        yield book


def signal(symbol: str, moment: int, confidence: float = 1.0, **others: object) -> RecordedSignal:
    return RecordedSignal(symbol, "BUY", confidence, moment, **others)


INSERT = f"INSERT INTO signals VALUES ({', '.join('?' * len(SCHEMA[TABLE].names))})"

signals = st.builds(
    RecordedSignal,
    st.sampled_from(SYMBOLS[:3]),
    st.sampled_from(["BUY", "SELL"]),
    st.sampled_from([0.1, 0.3, 1 / 3]),
    st.integers(1, 6),
    st.sampled_from([None, 1e-300, 0.1 + 0.2, math.inf, 7]),
    st.sampled_from([(), (RecordedVote("trend", "BUY", 0.1, None, 'a "b"\n\\'),)]),
    st.sampled_from([None, "signals"]),
    st.sampled_from(TENANTS),
    st.sampled_from([None, "{}"]),
)
steps = st.one_of(
    st.tuples(st.just("write"), st.lists(signals, min_size=1, max_size=6)),
    st.tuples(st.just("write elsewhere"), st.lists(signals, min_size=1, max_size=6)),
    st.tuples(st.just("foreign"), signals),
    st.tuples(st.sampled_from(["again", "close", "move", "delete", "prune"]), st.integers(0, 50)),
    st.tuples(st.sampled_from(["delete last", "close by another"]), st.integers(0, 50)),
    st.tuples(st.sampled_from(["vacuum", "reopen", "catch up", "catch up"]), st.none()),
)


@settings(max_examples=80)
@given(steps=st.lists(steps, min_size=1, max_size=16), held=st.sampled_from([1, 5, MAX_HELD]))
def test_the_newest_are_those_of_the_table_whatever_happens_to_it(tmp_path_factory, steps, held):
    asyncio.run(play(tmp_path_factory.mktemp("newest") / "signals.db", steps, held))


async def play(path: Path, steps: Sequence[tuple[str, object]], held: int) -> None:
    """Take *steps*, and compare after each what two programs on one file find with the table."""
    written: list[RecordedSignal] = []
    async with Book(path, held=held) as book, Book(path) as other:
        for number, (step, what) in enumerate(steps):
            if step in ("write", "write elsewhere"):
                written += what
                await (book if step == "write" else other).write(*what)
            elif step == "foreign":
                written.append(what)
                book.foreign(INSERT, what.row().cells)
            elif isinstance(what, int) and written:
                await change(book, step, written[what % len(written)])
            elif step == "vacuum":
                book.foreign("VACUUM")
            elif step == "catch up":
                await book.catch_up()
            elif step == "reopen":
                await book.sink.aclose()
                await book.sink.open(SCHEMA)
            await book.check()
            if number % 3:
                await other.check()


async def change(book: Book, step: str, one: RecordedSignal) -> None:
    if step == "again":
        # The same identifier, with other cells: what was there first stays.
        later = RecordedSignal(one.symbol, "HOLD", 1.0, 99, tenant=one.tenant, id=one.id)
        await book.write(later, signal("B", 5))
        return
    sql = {
        "close": "UPDATE signals SET is_active = 0, profit = 0.1 WHERE id = ?",
        "move": "UPDATE signals SET timestamp = 0 WHERE id = ?",
        "delete": "DELETE FROM signals WHERE id = ?",
        "prune": "DELETE FROM signals WHERE id <= ?",
        "delete last": "DELETE FROM signals WHERE rowid = (SELECT max(rowid) FROM signals) OR id = ?",
        "close by another": "UPDATE OR IGNORE signals SET is_active = 0 WHERE id = ?",
    }
    if step == "close by another":
        book.foreign(sql[step], (one.id,))
        return
    await book.sink.change(Query(sql[step], (one.id,)))


async def test_the_newest_of_all_are_at_hand_as_soon_as_they_are_written(book):
    await book.write(signal("A", 1), signal("B", 2, tenant="acme"))
    await book.catch_up()
    await book.write(signal("A", 3))
    assert set() == await book.unknown() | await book.unknown("acme")
    await book.check()


async def test_a_row_that_comes_late_replaces_no_newer_one(book):
    newer = signal("A", 5)
    await book.write(newer)
    await book.catch_up()
    await book.write(signal("A", 4), signal("A", 3))
    assert {"A": (newer,)} == await book.recorded.latest_of_many(["A"], 1)


async def test_the_first_of_equals_counts(book):
    first = signal("A", 5)
    await book.write(first, signal("A", 5))
    await book.catch_up()
    await book.write(signal("A", 5))
    assert {"A": (first,)} == await book.recorded.latest_of_many(["A"], 1)


async def test_a_closed_signal_is_closed_at_once_and_at_hand_again_soon(book):
    one = signal("A", 1)
    await book.write(one)
    await book.catch_up()
    await book.sink.change(Query(*queries.close(one.id, "win", 2.0, 0.1, 9)))
    [found] = (await book.recorded.latest_of_many(["A"], 1))["A"]
    assert "win" == found.outcome
    await book.caught_up()
    [found] = (await book.recorded.latest_of_many(["A"], 1))["A"]
    assert "win" == found.outcome


async def test_after_the_newest_is_deleted_the_one_before_is_the_newest(book):
    before, newest = signal("A", 1), signal("A", 2)
    await book.write(before, newest, signal("B", 1))
    await book.catch_up()
    await book.sink.change(Query("DELETE FROM signals WHERE id = ?", (newest.id,)))
    assert {"A": (before,)} == await book.recorded.latest_of_many(["A"], 1)
    await book.caught_up()
    assert {"A": (before,)} == await book.recorded.latest_of_many(["A"], 1)


async def test_what_another_program_writes_is_seen_at_once(book):
    """One of an older version, that knows of no entries, beside this one."""
    await book.write(signal("A", 1))
    await book.catch_up()
    theirs = signal("A", 2)
    book.foreign(INSERT, theirs.row().cells)
    assert {"A": (theirs,)} == await book.recorded.latest_of_many(["A"], 1)
    await book.caught_up()
    assert {"A": (theirs,)} == await book.recorded.latest_of_many(["A"], 1)


async def test_the_newest_that_json_cannot_hold_are_read_from_the_table(book):
    await book.write(signal("A", 1, price=math.inf), signal("B", 1, price=1.5))
    await book.catch_up()
    assert {"A"} == await book.unknown()
    await book.check()


async def make_old(path: Path, rows: int) -> None:
    """Make a database as versions before this one left it."""
    async with Book(path) as book:
        made = [signal(SYMBOLS[n % 3], n * 7 % rows, n % 5) for n in range(rows)]
        for start in range(0, rows, 2_000):
            await book.write(*made[start : start + 2_000])
    connection = sqlite3.connect(path)
    for trigger in ("changed", "moved", "deleted"):
        connection.execute(f"DROP TRIGGER {ENTRIES}_{trigger}")
    connection.execute(f"DROP TABLE {ENTRIES}")
    connection.execute("DROP TABLE argo_newest")
    connection.commit()
    connection.close()


async def test_an_old_database_is_read_at_once_and_caught_up_with_later(tmp_path):
    await make_old(tmp_path / "old.db", 20_000)
    async with Book(tmp_path / "old.db") as book:
        await book.check()
        await book.caught_up()
        await book.check()


async def test_catching_up_goes_on_where_it_was_when_the_process_died(tmp_path, monkeypatch):
    await make_old(tmp_path / "old.db", 20_000)
    with monkeypatch.context() as patch:
        patch.setattr(SqliteSink, "_catch_up_later", lambda self: None)
        async with Book(tmp_path / "old.db") as book:
            await book.sink._in(book.sink._writing, book.sink._catch_up)
            [(upto,)] = await book.sink.read(Query("SELECT upto FROM argo_newest"))
            assert 0 < upto < 20_000
            await book.check()
    async with Book(tmp_path / "old.db") as book:
        await book.caught_up()
        await book.check()


async def test_writing_without_rest_is_caught_up_with(tmp_path):
    await make_old(tmp_path / "old.db", 20_000)
    async with Book(tmp_path / "old.db") as book:
        moment = count(20_000)
        for _ in range(40):
            await book.write(*(signal("A", next(moment)) for _ in range(100)))
        await book.caught_up()
        await book.check()


async def test_a_writer_without_rest_makes_no_entries_that_nobody_asks_for(book, monkeypatch):
    made = []
    follow = NewestEntries._follow

    def counted(self, connection, upto):
        made.append(upto)
        return follow(self, connection, upto)

    monkeypatch.setattr(NewestEntries, "_follow", counted)
    await book.write(*(signal("A", n) for n in range(600)))
    await book.check()
    for moment in range(600, 640):
        await book.write(signal("A", moment))
    assert [0] == made
    await book.check()


async def test_a_changed_signal_is_at_hand_again_while_rows_are_written(book):
    one = signal("A", 1)
    await book.write(one)
    await book.catch_up()
    await book.sink.change(Query(*queries.close(one.id, "win", 2.0, 0.1, 9)))
    for moment in range(20):
        await book.write(signal("B", moment))
        await book.check()
        if not await book.unknown():
            break
    assert set() == await book.unknown()
    await book.check()


async def test_the_voices_of_a_signal_are_decoded_when_they_are_looked_at():
    voices = (RecordedVote("trend", "BUY", 0.5, 0.25, "up"),)
    one = signal("A", 1, voices=voices)
    found = RecordedSignal.from_cells(one.row().cells)
    assert voices == found.voices
    assert one == RecordedSignal.from_cells(one.row().cells)
    assert hash(one) == hash(RecordedSignal.from_cells(one.row().cells))
    assert () == RecordedSignal.from_cells(signal("A", 1).row().cells).voices
    with pytest.raises(AttributeError, match="nothing"):
        found.nothing  # noqa: B018 - the point of the test


class Plain:
    """A sink as another plugin may bring it, which has nothing at hand."""

    dialect = "sqlite"

    def __init__(self, sink: SqliteSink) -> None:
        self.read = sink.read


async def test_a_sink_that_has_nothing_at_hand_is_asked_for_its_rows(book):
    await book.write(*(signal(f"S{n}", 1) for n in range(2_500)), signal("A", 1, tenant="acme"))
    book.store.sink = Plain(book.sink)
    await book.check()
    symbols = [f"S{n}" for n in range(2_500)]
    found = await book.recorded.latest_of_many(symbols, 1)
    assert symbols == [one.symbol for (one,) in found.values()]


async def test_a_table_that_does_not_say_what_its_newest_rows_are_has_none(book):
    with pytest.raises(ConfigError, match="declare `newest`"):
        await book.database.newest("answers", ["A"])


async def test_what_was_read_once_is_only_followed(book):
    """No entry and no row that was read before is looked at again, and signals are the same."""
    await book.write(signal("A", 1), signal("B", 1))
    first = await book.recorded.latest_of_many(SYMBOLS, 1)
    statements = book.statements()
    await book.write(signal("B", 2))
    second = await book.recorded.latest_of_many(SYMBOLS, 1)
    assert first["A"][0] is second["A"][0]
    assert 2 == second["B"][0].timestamp
    assert 1 == book.asked(statements)


async def test_only_what_was_changed_is_read_again(book):
    one = signal("A", 1)
    await book.write(one, signal("B", 1))
    await book.catch_up()
    first = await book.recorded.latest_of_many(SYMBOLS, 1)
    await book.sink.change(Query(*queries.close(one.id, "win", 2.0, 0.1, 9)))
    second = await book.recorded.latest_of_many(SYMBOLS, 1)
    assert "win" == second["A"][0].outcome
    assert first["B"][0] is second["B"][0]


async def test_an_older_row_that_is_deleted_concerns_nobody(book):
    old = signal("A", 1)
    await book.write(old, signal("A", 2))
    await book.catch_up()
    first = await book.recorded.latest_of_many(SYMBOLS, 1)
    await book.sink.change(Query("DELETE FROM signals WHERE id = ?", (old.id,)))
    statements = book.statements()
    second = await book.recorded.latest_of_many(SYMBOLS, 1)
    assert first["A"][0] is second["A"][0]
    assert 1 == book.asked(statements)


async def test_an_older_row_that_moves_ahead_is_the_newest_of_where_it_is_now(book):
    old = signal("A", 1)
    await book.write(old, signal("A", 2), signal("B", 2))
    await book.catch_up()
    await book.check()
    moved = "UPDATE signals SET timestamp = 9, symbol = 'B' WHERE id = ?"
    await book.sink.change(Query(moved, (old.id,)))
    await book.check()


async def test_the_newest_that_is_left_is_followed_before_it_has_an_entry(book, monkeypatch):
    one, last = signal("A", 1), signal("A", 2)
    await book.write(one, last, signal("B", 1))
    await book.catch_up()
    await book.check()
    monkeypatch.setattr(SqliteSink, "_catch_up_later", lambda self: None)
    await book.sink.change(Query("DELETE FROM signals WHERE id = ?", (last.id,)))
    await book.check()
    await book.sink.change(Query(*queries.close(one.id, "win", 2.0, 0.1, 9)))
    await book.check()


async def test_more_than_may_be_held_is_not_held(tmp_path):
    async with Book(tmp_path / "signals.db", held=3) as book:
        await book.write(*(signal(symbol, 1) for symbol in SYMBOLS))
        await book.recorded.latest_of_many(["A", "B"], 1)
        assert 2 == book.held
        await book.recorded.latest_of_many(["C D", "never"], 1)
        assert 2 == book.held
        await book.check()
        assert 3 >= book.held


async def test_after_an_older_copy_was_put_in_place_the_newest_are_its_own(tmp_path):
    path, copy = tmp_path / "signals.db", tmp_path / "copy.db"
    async with Book(path) as book:
        await book.write(signal("A", 1), signal("B", 1))
        await book.sink.backup(copy)
        await book.write(signal("A", 2))
        await book.check()
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink()
        copy.replace(path)
        await book.write(signal("B", 2))
        await book.check()
        assert 1 == (await book.recorded.latest_of_many(["A"], 1))["A"][0].timestamp


async def test_of_equals_the_first_counts_where_json_cannot_hold_it(book):
    await book.write(signal("A", 1, price=math.inf))
    await book.catch_up()
    await book.write(signal("A", 1))
    await book.check()


async def test_entries_of_another_version_are_not_gone_by(book):
    await book.write(signal("A", 1))
    await book.catch_up()
    await book.check()
    book.foreign("UPDATE argo_newest SET form = 'another'")
    await book.write(signal("A", 2))
    await book.check()


async def test_a_database_that_is_away_says_so(book):
    await book.sink.aclose()
    with pytest.raises(Exception, match="not open") as caught:
        await book.recorded.latest_of_many(["A"], 1)
    assert isinstance(caught.value.__cause__, SinkUnavailable)


async def test_the_newest_are_read_from_the_entries_and_few_rows_by_number(book):
    query = book.sink._entries[TABLE].query(SYMBOLS, "acme")
    plan = await book.sink.read(Query(f"EXPLAIN QUERY PLAN {query.sql}", query.parameters))
    steps = {str(row[3]) for row in plan}
    assert "SEARCH n USING PRIMARY KEY (symbol=? AND tenant=?)" in steps
    assert "SEARCH signals USING INTEGER PRIMARY KEY (rowid>?)" in steps
