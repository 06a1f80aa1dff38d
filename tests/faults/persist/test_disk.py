"""SQLite on a full disk, and under another's lock."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys

import pytest

from argo_mw.plugin import SystemClock
from argo_mw_persist import (
    Answer,
    NotRecorded,
    Query,
    QueueFull,
    RecordStore,
    SqliteOptions,
    SqliteSink,
    WriterOptions,
)

COUNT = "SELECT count(*) FROM answers"


def answers(count: int) -> list[Answer]:
    return [Answer("bars", "k", "AAPL", None, "", number, b"") for number in range(count)]


class Warnings:
    """The warnings of a store, and an event that the first one sets."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.words: list[str] = []

    def __call__(self, what: str) -> None:
        self.words.append(what)
        self.first.set()


async def stored(store: RecordStore) -> int:
    [(count,)] = await store.sink.read(Query(COUNT))
    assert isinstance(count, int)
    return count


async def test_a_full_quota_fails_receipts_and_keeps_what_was_acknowledged(tmp_path):
    sink = SqliteSink(tmp_path / "small.db", SqliteOptions(max_bytes=400_000))
    options = WriterOptions(retry_timeout=0.0, max_batch=256)
    async with RecordStore(sink, options, clock=SystemClock(), on_warning=Warnings()) as store:
        receipts = [await store.record(answer.row()) for answer in answers(5_000)]
        results = await asyncio.gather(*receipts, return_exceptions=True)
        kept = results.count("sink")
        lost = [result for result in results if isinstance(result, NotRecorded)]
        assert kept > 0
        assert kept + len(lost) == 5_000
        assert "full" in str(lost[0])
        assert "free some space" in str(lost[0])
        assert kept == await stored(store)
        assert await sink.check() == []


FULL_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
from argo_mw.plugin import SystemClock
from argo_mw_persist import Answer, NotRecorded, Query, RecordStore, SqliteSink, WriterOptions

async def main():
    # Past this size the kernel refuses to let any file of this process grow.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path = Path(sys.argv[1])
    sink = SqliteSink(path)
    options = WriterOptions(retry_timeout=0.0, max_batch=256)
    async with RecordStore(sink, options, clock=SystemClock(), on_warning=lambda what: None) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
        rows = [Answer("bars", "k", "AAPL", None, "", n, b"").row() for n in range(5_001)]
        receipts = [await store.record(row) for row in rows[:5_000]]
        results = await asyncio.gather(*receipts, return_exceptions=True)
        lost = [r for r in results if isinstance(r, NotRecorded)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        again = await (await store.record(rows[5_000]))
        [(count,)] = await sink.read(Query("SELECT count(*) FROM answers"))
        print(results.count("sink"), len(lost), again, count, len(await sink.check()))

asyncio.run(main())
"""


def test_a_disk_that_refuses_to_grow_loses_nothing_acknowledged_and_work_goes_on_after(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "answers.db")],
        capture_output=True,
        text=True,
        check=True,
    )
    kept, lost, again, count, problems = done.stdout.split()
    assert int(kept) + int(lost) == 5_000
    assert int(kept) > 0
    assert int(lost) > 0
    assert again == "sink"
    assert int(kept) + 1 == int(count)
    assert problems == "0"


async def test_records_wait_for_a_locked_database_within_their_bound(tmp_path):
    path = tmp_path / "answers.db"
    warnings = Warnings()
    sink = SqliteSink(path, SqliteOptions(busy_timeout=0.0))
    options = WriterOptions(max_queued=100, overflow="refuse")
    async with RecordStore(sink, options, clock=SystemClock(), on_warning=warnings) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        receipts = [await store.record(answer.row()) for answer in answers(100)]
        await warnings.first.wait()
        assert "another process holds it" in warnings.words[0]
        with pytest.raises(QueueFull, match="100 records wait"):
            await store.record(answers(1)[0].row())
        other.execute("ROLLBACK")
        assert [await receipt for receipt in receipts] == ["sink"] * 100
        assert await stored(store) == 100
        other.close()


async def test_a_lock_that_outlasts_the_retry_timeout_is_told_to_the_caller(tmp_path):
    path = tmp_path / "answers.db"
    sink = SqliteSink(path, SqliteOptions(busy_timeout=0.0))
    options = WriterOptions(retry_timeout=0.0)
    async with RecordStore(sink, options, clock=SystemClock(), on_warning=Warnings()) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        receipt = await store.record(answers(1)[0].row())
        with pytest.raises(NotRecorded, match="database is locked"):
            await receipt
        other.close()
        assert await (await store.record(answers(1)[0].row())) == "sink"


async def test_a_poison_row_in_a_thousand_goes_to_the_dead_letters_and_the_rest_is_kept(tmp_path):
    sink = SqliteSink(tmp_path / "answers.db")
    some = answers(1_000)
    # Half a surrogate pair: no encoding of text has a place for it.
    some[617] = Answer("bars", "k", "\ud800", None, "", 617, b"")
    options = WriterOptions(min_batch=1_000)
    async with RecordStore(sink, options, clock=SystemClock()) as store:
        receipts = [await store.record(answer.row()) for answer in some]
        results = await asyncio.gather(*receipts, return_exceptions=True)
        assert 999 == results.count("sink") == await stored(store)
        assert isinstance(results[617], NotRecorded)
        assert "dead letter" in str(results[617])
        [letter] = await sink.read(Query("SELECT id, source, content FROM dead_letters"))
        assert (some[617].id, "answers") == letter[:2]
        assert "\\ud800" in str(letter[2])


async def test_a_poison_row_in_a_thousand_goes_to_the_dead_letters_of_postgres(server):
    from argo_mw_persist import PostgresSink

    sink = PostgresSink(server.database("poison"))
    some = answers(1_000)
    some[617] = Answer("bars", "k", "A\0B", None, "", 617, b"")
    async with RecordStore(sink, WriterOptions(min_batch=1_000), clock=SystemClock()) as store:
        receipts = [await store.record(answer.row()) for answer in some]
        results = await asyncio.gather(*receipts, return_exceptions=True)
        assert 999 == results.count("sink") == await stored(store)
        assert isinstance(results[617], NotRecorded)
        [(identifier, content)] = await sink.read(Query("SELECT id, content FROM dead_letters"))
        assert some[617].id == identifier
        assert "A\\u0000B" in str(content)
