"""For tests: a private PostgreSQL server, a table to record to, and the suite for sinks.

Subclass :class:`SinkConformance` and provide the fixture ``sink``, a sink without rows that is open
with :data:`SCHEMA`::

    from argo_mw_persist.testing import SCHEMA, SinkConformance


    class TestMySink(SinkConformance):
        @pytest.fixture
        async def sink(self):
            sink = MySink()
            await sink.open(SCHEMA)
            yield sink
            await sink.aclose()

The suite needs pytest and pytest-asyncio in its automatic mode.
"""

from __future__ import annotations

import asyncio

import pytest
from attrs import astuple

from argo_mw.plugin import AnsweredCall, Charge, ChargeStatus, Cost, Row, SystemClock
from argo_mw_persist import queries
from argo_mw_persist.costs import ChargeTable, charge_row
from argo_mw_persist.dead_letters import dead_letter
from argo_mw_persist.errors import RowsRefused
from argo_mw_persist.queries import AnswerFilter, ChargeFilter
from argo_mw_persist.records import Answer, new_id
from argo_mw_persist.schema import OWN_TABLES, Schema
from argo_mw_persist.sink import Query, Sink
from argo_mw_persist.store import RecordStore
from argo_mw_persist.tables import ANSWERS, Cells, Table
from argo_mw_persist.testing_servers import (
    PgBouncer,
    Postgres,
    pgbouncer,
    pgbouncer_program,
    postgres,
)
from argo_mw_persist.writer import WriterOptions

__all__ = [
    "SAMPLES",
    "SCHEMA",
    "PgBouncer",
    "Postgres",
    "SinkConformance",
    "pgbouncer",
    "pgbouncer_program",
    "postgres",
    "sample",
]

SAMPLES = Table(
    "samples",
    {
        "id": "id",
        "name": "text",
        "number": "int",
        "size": "real",
        "done": "flag",
        "content": "bytes",
    },
    [
        (
            """CREATE TABLE samples (
                id {id} NOT NULL UNIQUE,
                name {text} NOT NULL,
                number {int} NOT NULL,
                size {real},
                done {flag} NOT NULL,
                content {bytes})""",
            "CREATE INDEX samples_by_name ON samples (name, number DESC)",
        )
    ],
    ("name", "done"),
    lambda name, done: ("samples", f"samples:{name}", *(["done"] if done else [])),
)
"""A table as another plugin would declare it, with a column of each type."""

SCHEMA = Schema([*OWN_TABLES, SAMPLES])
"""The tables that the suite expects a sink to be open with."""


def _computed(rows: int) -> list[Row]:
    """Return rows whose identifiers are derived, as those of computed answers are."""
    answered = AnsweredCall(None, "", {}, "", None, 1_750_000_000.0, 0.0, identity="computed")
    return [
        Row(row.table, (answered.row_id(str(n)), *row.cells[1:]), row.tags)
        for n, row in enumerate(_samples(rows))
    ]


def sample(
    name: str,
    number: int,
    *,
    size: float | None = None,
    done: bool = False,
    content: bytes | None = None,
) -> Row:
    """Return a row of :data:`SAMPLES`."""
    tags = SAMPLES.tags(name, done)
    return Row(SAMPLES.name, (new_id(), name, number, size, done, content), tags)


class SinkConformance:
    """The promises of :class:`~argo_mw_persist.Sink`."""

    async def test_every_kind_of_row_comes_back_as_it_was_written(self, sink: Sink) -> None:
        """Text of any script, large numbers, bytes, truth values and nothing at all."""
        some = sample(
            "\xfcber 200 days \U0001f4c8", 2**53, size=1e-12, done=True, content=b"\0\xff"
        )
        answer = Answer("bars", "bars:1", "AAPL", None, "", -1, bytes(range(256))).row()
        cost = Cost(None, 10, 20, 0.5, True, "claude-\xfc", 7, 2, 9)
        charge = Charge(5e-6, "acme", "opinion", "", "claude", "aborted", cost, 0.25, "cache")
        letter = dead_letter(some, SAMPLES.names, "because", now=1.5)
        rows = [some, answer, charge_row(charge), letter]
        await sink.write(rows)
        for row in rows:
            assert await _stored(sink, SCHEMA[row.table]) == [row.cells]

    async def test_writing_twice_keeps_one(self, sink: Sink) -> None:
        """A batch may be repeated, alone, beside new rows, and within itself."""
        first, second = _samples(3), _samples(2)
        await sink.write(first)
        await sink.write(first)
        await sink.write([*first, *second, *second])
        assert await _count(sink) == 5

    async def test_a_batch_is_kept_as_a_whole_or_not_at_all(self, sink: Sink) -> None:
        """One row at fault, and none is there."""
        broken = Row(SAMPLES.name, (new_id(), None, 1, None, False, None))
        with pytest.raises(RowsRefused):
            await sink.write([*_samples(2), broken, *_samples(2)])
        assert await _count(sink) == 0

    async def test_a_row_that_others_make_too_is_kept_once(self, sink: Sink) -> None:
        """In one batch or several, side by side, beside other rows; the first one stays."""
        own, others = _samples(20), _computed(20)
        again = [Row(row.table, (row.cells[0], "B", *row.cells[2:]), row.tags) for row in others]
        await sink.write([*own, *others, *again])
        await asyncio.gather(*(sink.write(part) for part in (again, again[::-1], again[5:])))
        kept = await _stored(sink, SAMPLES)
        assert len(kept) == len(own) + len(others)
        assert "B" not in {cells[1] for cells in kept}

    async def test_a_batch_of_any_size_is_kept(self, sink: Sink) -> None:
        """From one row to more than any statement takes."""
        total = 0
        for size in (1, 2, 3, 127, 1_000, 2_049, 5_000):
            await sink.write(_samples(size))
            total += size
        assert await _count(sink) == total

    async def test_a_batch_for_several_tables_is_kept(self, sink: Sink) -> None:
        """Rows of all tables may come in one batch."""
        await sink.write([*_samples(3), *(_answer("A", n).row() for n in range(2))])
        assert await _count(sink) == 3
        assert len(await _stored(sink, ANSWERS)) == 2

    async def test_changes_count_the_rows_they_change(self, sink: Sink) -> None:
        """One for a known identifier, none for an unknown one; committed when it returns."""
        [row] = _samples(1)
        await sink.write([row])
        close = "UPDATE samples SET done = ? WHERE id = ?"
        assert await sink.change(Query(close, (True, row.cells[0]))) == 1
        assert await sink.change(Query(close, (True, bytes(16)))) == 0
        assert [stored[4] for stored in await _stored(sink, SAMPLES)] == [True]

    async def test_answers_are_paged_and_each_is_met_once(self, sink: Sink) -> None:
        """Newest first, of the operation and subject asked for, also where times are equal."""
        some = [_answer(f"S{n % 2}", n // 10) for n in range(95)]
        await sink.write([answer.row() for answer in [*some, _answer("S0", 1, "news")]])
        for subject, expected in (None, some), ("S1", some[1::2]):
            wanted = AnswerFilter("bars", subject=subject)
            seen: list[Answer] = []
            after: tuple[int, bytes] | None = None
            while rows := await sink.read(queries.answers(wanted, 7, after)):
                seen += [Answer.from_cells(row) for row in rows]
                after = (seen[-1].timestamp, seen[-1].id)
            newest_first = sorted(expected, key=lambda a: (a.timestamp, a.id), reverse=True)
            assert newest_first == seen

    async def test_what_was_spent_is_added_up(self, sink: Sink) -> None:
        """By upstream and operation; a price that is not known is not zero, and nothing saved."""
        await sink.write([_charge("claude", n, 0.25) for n in range(4)])
        await sink.write([_charge("glm", 1, 0.5, "failed"), _charge("glm", 2, None)])
        await sink.write([_charge("glm", 3, 9.0, "saved", layer="cache")])
        claude, glm = await sink.read(queries.spending(ChargeFilter("acme")))
        assert claude == ("claude", "opinion", 4, 0, 4.0, 40, 80, 1.0, 0, 0.5)
        assert glm == ("glm", "opinion", 2, 1, 2.0, 20, 40, 0.5, 1, 0.5)
        wanted = ChargeFilter("acme", upstream="claude", operation="opinion", since=1, until=3)
        [some] = await sink.read(queries.spending(wanted))
        assert some[2] == 2
        assert list(await sink.read(queries.spending(ChargeFilter("globex")))) == []

    async def test_costs_are_added_up_by_day_and_everything_else(self, sink: Sink) -> None:
        """What is saved apart from what was spent, and the errors of exact estimates alone."""
        day, late = 86_400_000_000, 86_399_999_999
        await sink.write(
            [
                _charge("claude", late, 1.0),
                _charge("claude", day, 0.25),
                _charge("claude", day + 1, None, "aborted"),
                _charge("claude", day + 2, 0.5, "saved", layer="cache"),
            ]
        )
        store = RecordStore(sink, WriterOptions(), clock=SystemClock(), schema=SCHEMA)
        table = ChargeTable(lambda: store, print)
        found = await table.totals(86_400.0 + 3_600.0)
        named = await table.identity()
        assert named == await table.identity()
        assert (named == "") == (sink.dialect == "postgresql")
        same = ("1970-01-02", "acme", "opinion", "A", "claude", "m")
        spent = (*same, "", 2, 1, 1, 1, 2.0, 20, 12, 40, 0.25, 1.0, 0.2, 1)
        saved = (*same, "cache", 1, 0, 0, 0, 1.0, 10, 6, 20, 0.5, 0.5, 0.0, 0)
        assert {spent, saved} == {astuple(one) for one in found}

    async def test_the_oldest_are_found_and_deleted(self, sink: Sink) -> None:
        """Identifiers are ordered by time, in the sink as in the program."""
        rows = [*_samples(5), *(_answer("A", n).row() for n in range(5))]
        await sink.write(rows)
        for table, some in (SAMPLES, rows[:5]), (ANSWERS, rows[5:]):
            border = some[3].cells[0]
            assert isinstance(border, bytes)
            found = await sink.read(queries.oldest(table, border, 2))
            assert [row.cells[0] for row in some[:2]] == [row[0] for row in found]
            assert await sink.change(queries.delete(table, [row[0] for row in found])) == 2
            left = await sink.read(queries.oldest(table, bytes([255] * 16), 10))
            assert [row.cells[0] for row in some[2:]] == [row[0] for row in left]

    async def test_a_tenant_reads_no_answers_of_another(self, sink: Sink) -> None:
        """Readers see what all tenants share and what is their own."""
        owners = ("", "acme", "globex")
        await sink.write([_answer("A", 1, tenant=owner).row() for owner in owners])
        seen = await sink.read(queries.answers(AnswerFilter("bars", "acme"), 10, None))
        assert {row[1] for row in seen} == {"", "acme"}

    async def test_what_is_well_has_no_problems(self, sink: Sink) -> None:
        """A check of sound data finds nothing."""
        await sink.write(_samples(10))
        assert list(await sink.check()) == []

    async def test_closing_twice_is_closing_once(self, sink: Sink) -> None:
        """The fixture closes it again."""
        await sink.aclose()
        await sink.aclose()


def _samples(count: int) -> list[Row]:
    return [sample(f"S{number % 5}", number) for number in range(count)]


def _answer(subject: str, timestamp: int, operation: str = "bars", tenant: str = "") -> Answer:
    return Answer(operation, f"{operation}:{subject}", subject, "given", tenant, timestamp, b"\0")


def _charge(
    upstream: str,
    timestamp: int,
    usd: float | None,
    status: ChargeStatus = "ok",
    layer: str = "",
) -> Row:
    cost = Cost(usd, 10, 20, 1.0, usd is None, "m", 6, 2, 12)
    at = timestamp / 1e6
    return charge_row(Charge(at, "acme", "opinion", "A", upstream, status, cost, 0.5, layer))


async def _count(sink: Sink) -> int:
    [(count,)] = await sink.read(Query("SELECT count(*) FROM samples"))
    assert isinstance(count, int)
    return count


async def _stored(sink: Sink, table: Table) -> list[Cells]:
    found = await sink.read(Query(f"SELECT {', '.join(table.names)} FROM {table.name}"))  # noqa: S608
    return [table.restored(cells).cells for cells in found]
