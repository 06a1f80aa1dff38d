"""The writer: bounded, acknowledged after commit, on time, to the end."""

from __future__ import annotations

import asyncio

import pytest

from argo_mw import Closed
from argo_mw.testing import FakeClock, settle
from argo_mw_persist import NotRecorded, QueueFull, SinkUnavailable, WriterOptions
from argo_mw_persist.testing import SCHEMA, sample
from argo_mw_persist.writer import RESERVE, Writer


class Gated:
    """A sink that writes while its gate is open, and fails on demand."""

    place = "the test's sink"

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.batches: list[list[object]] = []
        self.asked = 0
        self.failures: list[Exception] = []

    async def write(self, rows) -> str:
        self.asked += 1
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.batches.append([row.cells[2] for row in rows])
        return "sink"

    @property
    def rows(self) -> list[object]:
        return [row for batch in self.batches for row in batch]


class Running:
    """A writer at work on a clock that stands still."""

    def __init__(self, **options: object) -> None:
        self.clock = FakeClock()
        self.sink = Gated()
        self.warnings: list[str] = []
        self.committed: list[int] = []
        self.writer = Writer(
            self.sink,
            WriterOptions(**options),
            schema=SCHEMA,
            clock=self.clock,
            on_committed=self._committed,
            on_warning=self.warnings.append,
        )

    async def _committed(self, rows) -> None:
        self.committed += [row.cells[2] for row in rows]

    async def __aenter__(self) -> Running:
        self.task = asyncio.create_task(self.writer.run())
        await settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.sink.gate.set()
        self.writer.close(timeout=0.0)
        await settle()
        await self.clock.advance(10.0)
        await self.task

    async def put(self, *numbers: int):
        return [await self.writer.put(row(number)) for number in numbers]


def row(number: int):
    return sample("A", number)


async def test_a_batch_is_written_when_it_is_full_without_waiting():
    async with Running(min_batch=4, max_batch=4, linger=60.0) as run:
        receipts = await run.put(*range(4))
        await settle()
        assert run.sink.batches == [[0, 1, 2, 3]]
        assert [await receipt for receipt in receipts] == ["sink"] * 4


async def test_a_lone_record_is_written_when_its_time_is_up_though_no_other_comes():
    async with Running(linger=0.05) as run:
        [receipt] = await run.put(1)
        await run.clock.advance(0.04)
        assert run.sink.batches == []
        await run.clock.advance(0.02)
        assert run.sink.batches == [[1]]
        assert receipt.done()


async def test_nothing_is_acknowledged_before_it_is_committed_and_announced():
    async with Running(linger=0.0) as run:
        run.sink.gate.clear()
        [receipt] = await run.put(1)
        await run.clock.advance(1.0)
        assert run.sink.asked == 1
        assert not receipt.done()
        receipt.add_done_callback(lambda _: run.committed.append(-1))
        run.sink.gate.set()
        await settle()
        assert run.committed == [1, -1]


async def test_records_are_acknowledged_in_the_order_in_which_they_were_taken():
    async with Running(min_batch=2, max_batch=2, linger=0.0) as run:
        order: list[int] = []
        for number, receipt in enumerate(await run.put(*range(6))):
            receipt.add_done_callback(lambda _, n=number: order.append(n))
        await settle()
        assert list(range(6)) == order == run.sink.rows


async def test_a_full_queue_makes_callers_wait_and_holds_no_more_than_its_bound():
    async with Running(max_queued=3, linger=0.0) as run:
        run.sink.gate.clear()
        await run.put(0, 1, 2)
        waiting = asyncio.create_task(run.writer.put(row(3)))
        await settle()
        assert not waiting.done()
        assert run.writer.held == 3
        run.sink.gate.set()
        await settle()
        assert await (await waiting) == "sink"
        assert run.sink.rows == [0, 1, 2, 3]


async def test_a_full_queue_refuses_where_it_is_configured_to():
    async with Running(max_queued=2, overflow="refuse", linger=0.0) as run:
        run.sink.gate.clear()
        await run.put(0, 1)
        with pytest.raises(QueueFull, match="2 records wait for the test's sink.*max_queued"):
            await run.put(2)
        run.sink.gate.set()
        await settle()
        await run.put(2)
        await run.clock.advance(0.1)
        assert run.sink.rows == [0, 1, 2]


async def test_a_full_queue_makes_no_answer_wait_for_a_sink_that_cannot_write():
    async with Running(max_queued=2, linger=0.0, min_batch=2) as run:
        run.sink.gate.clear()
        await run.put(0, 1)
        hasty = [asyncio.create_task(run.writer.put(row(n), hasty=True)) for n in (2, 3)]
        patient = asyncio.create_task(run.writer.put(row(6)))
        await settle()
        run.sink.failures = [SinkUnavailable("gone") for _ in range(3)]
        run.sink.gate.set()
        await settle()
        for refused in (*hasty, run.writer.put(row(4), hasty=True)):
            with pytest.raises(QueueFull, match="2 records wait .*: gone"):
                await refused
        assert 2 == run.writer.held
        assert not patient.done()
        await run.clock.advance(2.0)
        [receipt] = await run.put(5)
        await run.clock.advance(0.1)
        assert ["sink", "sink"] == [await receipt, await (await patient)]
        assert [0, 1, 6, 5] == run.sink.rows


async def test_an_offer_may_exceed_a_full_queue_by_the_reserve_and_no_more():
    async with Running(max_queued=1, linger=0.0) as run:
        run.sink.gate.clear()
        await run.put(0)
        waiting = asyncio.create_task(run.writer.put(row(-1)))
        await settle()
        for number in range(RESERVE):
            run.writer.offer(row(number + 1))
        with pytest.raises(QueueFull):
            run.writer.offer(row(0))
        assert run.writer.held == RESERVE + 1
        run.sink.gate.set()
        await settle()
        await run.clock.advance(0.1)
        assert await (await waiting) == "sink"
        assert [*range(RESERVE + 1), -1] == run.sink.rows


async def test_a_caller_who_leaves_while_waiting_leaves_nothing_behind():
    async with Running(max_queued=1, linger=0.0) as run:
        run.sink.gate.clear()
        await run.put(0)
        leaving = asyncio.create_task(run.writer.put(row(1)))
        await settle()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        run.sink.gate.set()
        await settle()
        assert run.sink.rows == [0]
        assert run.writer.held == 0


async def test_a_caller_who_cancels_a_receipt_takes_no_record_along():
    async with Running(linger=0.05) as run:
        receipts = await run.put(0, 1)
        receipts[0].cancel()
        await run.clock.advance(0.1)
        assert run.sink.rows == [0, 1]
        assert await receipts[1] == "sink"
        assert run.writer.held == 0


async def test_flush_waits_for_what_was_taken_before_it_and_for_nothing_else():
    async with Running(linger=3600.0) as run:
        await run.put(0)
        run.sink.gate.clear()
        flushing = asyncio.create_task(run.writer.flush())
        await settle()
        later = await run.put(1)
        assert not flushing.done()
        run.sink.gate.set()
        await settle()
        assert flushing.done()
        await flushing
        assert run.sink.rows == [0]
        assert not later[0].done()
        assert run.writer.held == 1


async def test_flush_waits_for_a_batch_under_way_though_its_receipts_were_cancelled():
    async with Running(linger=0.0) as run:
        run.sink.gate.clear()
        [receipt] = await run.put(0)
        await run.clock.advance(0.1)
        receipt.cancel()
        flushing = asyncio.create_task(run.writer.flush())
        await settle()
        assert not flushing.done()
        run.sink.gate.set()
        await flushing
        assert run.sink.rows == [0]


async def test_flush_of_nothing_returns_at_once():
    async with Running() as run:
        await run.writer.flush()


async def test_a_sink_that_is_away_is_tried_again_until_it_is_back():
    async with Running(linger=0.0, retry_timeout=30.0) as run:
        run.sink.failures = [SinkUnavailable("gone") for _ in range(5)]
        [receipt] = await run.put(0)
        await settle()
        assert not receipt.done()
        await run.clock.advance(10.0)
        assert await receipt == "sink"
        assert run.sink.rows == [0]
        assert len(run.warnings) == 2
        assert "gone" in run.warnings[0]
        assert "takes records again" in run.warnings[1]


async def test_after_the_retry_timeout_records_fail_and_take_up_no_capacity():
    async with Running(linger=0.0, retry_timeout=5.0, max_queued=1) as run:
        run.sink.failures = [SinkUnavailable("gone") for _ in range(100)]
        [receipt] = await run.put(0)
        await run.clock.advance(6.0)
        with pytest.raises(NotRecorded, match="gone"):
            await receipt
        assert run.writer.held == 0
        run.sink.failures = []
        [again] = await run.put(1)
        await run.clock.advance(1.0)
        assert await again == "sink"


async def test_a_bug_of_the_sink_fails_its_batch_and_stops_nothing():
    async with Running(linger=0.0) as run:
        run.sink.failures = [ZeroDivisionError("oops")]
        [receipt] = await run.put(0)
        await run.clock.advance(0.1)
        with pytest.raises(NotRecorded, match="ZeroDivisionError: oops"):
            await receipt
        [again] = await run.put(1)
        await run.clock.advance(0.1)
        assert await again == "sink"


async def test_rows_are_acknowledged_though_invalidation_failed():
    run = Running(linger=0.0)

    async def fail(rows) -> None:
        raise ConnectionError("no channel")

    run.writer._on_committed = fail
    async with run:
        [receipt] = await run.put(0)
        await run.clock.advance(0.1)
        assert await receipt == "sink"
        assert "no channel" in run.warnings[0]


async def test_closing_writes_what_is_queued_and_takes_no_more():
    run = Running(linger=3600.0)
    async with run:
        receipts = await run.put(*range(500))
        run.writer.close(timeout=1.0)
        with pytest.raises(Closed, match="shutting down"):
            await run.put(500)
        await run.task
        assert list(range(500)) == run.sink.rows
        assert {"sink"} == {await receipt for receipt in receipts}


async def test_closing_gives_up_on_a_sink_that_stays_away():
    run = Running(linger=0.0, retry_timeout=3600.0)
    async with run:
        run.sink.failures = [SinkUnavailable("gone") for _ in range(1000)]
        receipts = await run.put(0, 1)
        await run.clock.advance(1.0)
        run.writer.close(timeout=5.0)
        await run.clock.advance(10.0)
        await run.task
        for receipt in receipts:
            with pytest.raises(NotRecorded, match="gone"):
                await receipt


async def test_callers_who_wait_at_the_end_are_refused():
    run = Running(linger=0.0, max_queued=1)
    async with run:
        run.sink.gate.clear()
        await run.put(0)
        waiting = asyncio.create_task(run.writer.put(row(1)))
        await settle()
        run.writer.close(timeout=1.0)
        run.sink.gate.set()
        await run.task
        with pytest.raises(Closed):
            await waiting


async def test_a_writer_that_is_stopped_hard_fails_every_receipt():
    run = Running(min_batch=2, max_batch=2, linger=3600.0)
    async with run:
        run.sink.gate.clear()
        receipts = await run.put(*range(7))
        await settle()
        run.task.cancel()
        await asyncio.gather(run.task, return_exceptions=True)
        for receipt in receipts:
            with pytest.raises(NotRecorded, match="stopped"):
                await receipt
        assert run.writer.held == 0
        run.task = asyncio.create_task(asyncio.sleep(0))


async def test_two_batches_at_most_are_under_way():
    async with Running(min_batch=1, max_batch=1, linger=0.0) as run:
        run.sink.gate.clear()
        await run.put(*range(5))
        await settle()
        assert run.sink.asked == 2
        run.sink.gate.set()
        await settle()
        assert run.sink.rows == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "bad",
    [{"max_queued": 0}, {"linger": -1}, {"target": 0}, {"max_batch": 0}, {"retry_timeout": -1}],
)
def test_options_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        WriterOptions(**bad)


async def test_while_invalidation_takes_long_batches_grow_instead_of_queueing_up():
    """Each batch that waits for its invalidation is a task; there are few, whatever the load."""
    async with Running(linger=0.0, max_batch=100) as run:
        gate = asyncio.Event()

        async def slowly(rows) -> None:
            await gate.wait()

        run.writer._on_committed = slowly
        receipts = []
        for number in range(20):
            receipts += await run.put(number)
            await run.clock.advance(0.01)
        assert [[0], [1], [2], [3]] == run.sink.batches
        gate.set()
        await settle()
        assert [[0], [1], [2], [3], list(range(4, 20))] == run.sink.batches
        assert ["sink"] * 20 == [await receipt for receipt in receipts]
