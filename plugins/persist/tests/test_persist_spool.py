"""The spool, with a sink behind it that the test opens and closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from argo_mw.plugin import AnsweredCall, Row, Tasks
from argo_mw.testing import FakeClock
from argo_mw_persist import Query, Schema, SinkUnavailable, SqliteSink
from argo_mw_persist.spool import SpooledSink
from argo_mw_persist.testing import SCHEMA, sample


class Gated:
    """A sink whose first writes wait until the test ends each; later ones succeed."""

    dialect = "postgresql"
    place = "a sink"

    def __init__(self) -> None:
        self.asked: list[asyncio.Future[None]] = []
        self.more = asyncio.Condition()
        self.kept: list[Row] = []

    async def open(self, schema: Schema, *, migrate: bool = True) -> None: ...

    async def aclose(self) -> None: ...

    async def write(self, rows: Sequence[Row]) -> str:
        if len(self.asked) < 2:
            gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.asked.append(gate)
            async with self.more:
                self.more.notify_all()
            await gate
        self.kept += rows
        return "sink"

    async def until_both_wait(self) -> None:
        async with self.more:
            await self.more.wait_for(lambda: len(self.asked) == 2)

    def passes(self) -> None:
        """Let no write wait any more."""
        self.asked = [asyncio.get_running_loop().create_future() for _ in range(2)]

    def end(self, number: int, *, well: bool) -> None:
        gate = self.asked[number]
        if well:
            gate.set_result(None)
        else:
            gate.set_exception(SinkUnavailable("it is away"))


class Bridged:
    """A spooled sink and all that it needs."""

    def __init__(self, directory: Path, behind: Gated | None = None) -> None:
        self.behind = behind or Gated()
        self.spool = SqliteSink(directory / "spool.db")
        self.tasks = Tasks()
        self.warnings: list[str] = []
        self.drained: list[Row] = []
        self.clock = FakeClock()
        self.sink = SpooledSink(
            self.behind,
            self.spool,
            clock=self.clock,
            tasks=self.tasks,
            on_warning=self.warnings.append,
            on_drained=self.drained.extend,
        )

    def write(self, rows: Sequence[Row]) -> asyncio.Task[str]:
        return asyncio.create_task(self.sink.write(rows))

    async def spooled(self) -> int:
        [(count,)] = await self.spool.read(Query("SELECT count(*) FROM samples"))
        assert isinstance(count, int)
        return count


@pytest.fixture
async def bridged(tmp_path: Path) -> AsyncIterator[Bridged]:
    made = Bridged(tmp_path)
    await made.sink.open(SCHEMA)
    yield made
    await made.sink.aclose()
    await made.tasks.aclose()


def batch(*numbers: int) -> list[Row]:
    return [sample("A", number) for number in numbers]


def ids(rows: Sequence[Row]) -> list[object]:
    return [row.cells[0] for row in rows]


async def test_writes_go_side_by_side_while_the_sink_is_there(bridged):
    first, second = bridged.write(batch(1)), bridged.write(batch(2))
    await bridged.behind.until_both_wait()
    bridged.behind.end(1, well=True)
    assert await second == "sink"
    assert not first.done()
    bridged.behind.end(0, well=True)
    assert await first == "sink"


async def test_batches_that_fail_side_by_side_are_spooled_and_drained_as_they_were_taken(bridged):
    """Whichever of them fails first."""
    older, newer = batch(1, 2), batch(3, 4)
    first, second = bridged.write(older), bridged.write(newer)
    await bridged.behind.until_both_wait()
    bridged.behind.end(1, well=False)
    await asyncio.sleep(0)
    assert not second.done()
    bridged.behind.end(0, well=False)
    assert [await first, await second] == ["spool", "spool"]
    assert bridged.warnings == ["records go to the spool: it is away"]
    await bridged.sink.drained()
    assert ids([*older, *newer]) == ids(bridged.drained)


async def test_a_batch_that_was_under_way_waits_for_no_other_when_it_succeeds(bridged):
    failing, sound = bridged.write(batch(1)), bridged.write(batch(2))
    await bridged.behind.until_both_wait()
    bridged.behind.end(0, well=False)
    assert await failing == "spool"
    bridged.behind.end(1, well=True)
    assert await sound == "sink"


async def test_what_fails_just_when_the_spool_has_been_emptied_is_drained_too(bridged):
    """Its failure is older than the good news; no other would start to drain it."""
    slow, failing = bridged.write(batch(1)), bridged.write(batch(2))
    await bridged.behind.until_both_wait()
    bridged.behind.end(0, well=False)
    assert await slow == "spool"
    await bridged.sink.drained()
    assert len(bridged.behind.kept) == 1
    bridged.behind.end(1, well=False)
    assert await failing == "spool"
    await bridged.sink.drained()
    assert await bridged.spooled() == 0
    assert len(bridged.behind.kept) == 2


async def test_a_caller_who_leaves_a_write_holds_up_no_other(bridged):
    leaving, failing = bridged.write(batch(1)), bridged.write(batch(2))
    await bridged.behind.until_both_wait()
    leaving.cancel()
    bridged.behind.end(1, well=False)
    assert await failing == "spool"
    assert leaving.cancelled()


async def test_the_depth_of_the_spool_is_known_without_asking_its_file(bridged, tmp_path):
    """Also of what an earlier process has left there."""
    first, second = bridged.write(batch(1, 2)), bridged.write(batch(3))
    await bridged.behind.until_both_wait()
    for number in (0, 1):
        bridged.behind.end(number, well=False)
    await asyncio.gather(first, second)
    await bridged.sink.drained()
    assert 0 == bridged.sink.depth

    await bridged.spool.write(batch(4, 5))
    later = Bridged(tmp_path)
    later.behind.open = away  # type: ignore[method-assign]
    await later.sink.open(SCHEMA)
    assert 2 == later.sink.depth
    assert "spool" == await later.sink.write(batch(6))
    assert 3 == later.sink.depth
    await later.sink.aclose()
    await later.tasks.aclose()


async def away(schema: Schema, *, migrate: bool = True) -> None:
    msg = "it is away"
    raise SinkUnavailable(msg)


class Away(SqliteSink):
    """A sink that can be away."""

    away = False

    async def write(self, rows: Sequence[Row]) -> str:
        if self.away:
            msg = "it is away"
            raise SinkUnavailable(msg)
        return await super().write(rows)


async def test_rows_that_another_instance_has_recorded_meanwhile_are_kept_once(tmp_path):
    """Also those that came into the spool twice, and those that were in the sink already."""
    bridged = Bridged(tmp_path)
    behind = Away(tmp_path / "behind.db")
    bridged.sink = SpooledSink(
        behind,
        bridged.spool,
        clock=bridged.clock,
        tasks=bridged.tasks,
        on_warning=bridged.warnings.append,
        on_drained=bridged.drained.extend,
    )
    answered = AnsweredCall(None, "", {}, "", None, 1.0, 2.0, identity="computed")
    computed = [
        Row(row.table, (answered.row_id(str(row.cells[2])), *row.cells[1:]), row.tags)
        for row in batch(1, 2, 3)
    ]
    await bridged.sink.open(SCHEMA)
    await bridged.sink.write(computed[:1])
    behind.away = True
    assert ["spool", "spool"] == [await bridged.sink.write(computed) for _ in range(2)]
    behind.away = False
    await behind.write(computed[1:2])
    await bridged.clock.advance(1.0)
    await bridged.sink.drained()
    kept = await behind.read(Query("SELECT id FROM samples ORDER BY id"))
    assert sorted(ids(computed)) == [identifier for (identifier,) in kept]
    assert 0 == bridged.sink.depth == await bridged.spooled()
    await bridged.sink.aclose()
    await bridged.tasks.aclose()


async def test_a_sink_that_does_not_answer_at_the_start_is_opened_in_the_background(
    tmp_path: Path,
) -> None:
    answers = asyncio.Event()

    class Silent(Gated):
        async def open(self, schema: Schema, *, migrate: bool = True) -> None:
            await answers.wait()

    bridged = Bridged(tmp_path, Silent())
    opening = asyncio.create_task(bridged.sink.open(SCHEMA))
    while not opening.done():
        await bridged.clock.advance(1.0)
    await opening
    rows = [sample("one", number) for number in range(3)]
    assert "spool" == await bridged.sink.write(rows)
    assert ["records go to the spool: a sink did not answer within 5 s"] == bridged.warnings
    bridged.behind.passes()
    answers.set()
    while bridged.sink.depth:
        await bridged.clock.advance(1.0)
    assert ids(rows) == ids(bridged.behind.kept)
    await bridged.sink.aclose()
    await bridged.tasks.aclose()


async def test_rows_that_a_sink_takes_too_long_for_are_in_the_spool(bridged):
    """And reach it from there, though it may have taken them after all."""
    first = bridged.write(batch(1))
    async with bridged.behind.more:
        await bridged.behind.more.wait_for(lambda: len(bridged.behind.asked) == 1)
    await bridged.clock.advance(4.9)
    assert not first.done()
    while not first.done():
        await bridged.clock.advance(0.1)
    assert "spool" == await first
    assert "spool" == await bridged.write(batch(2))
    await bridged.behind.until_both_wait()  # the second is of what is drained
    for number in range(2):
        bridged.behind.end(number, well=True)
    while bridged.sink.depth:
        await bridged.clock.advance(1.0)
    assert {1, 2} == {row.cells[2] for row in bridged.behind.kept}
    assert set() == bridged.sink._late
