"""PostgreSQL killed and started again under load."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from argo_mw import Secret
from argo_mw.plugin import Row, SystemClock, Tasks
from argo_mw_persist import (
    Answer,
    NotRecorded,
    PersistConfig,
    Query,
    RecordStore,
    WriterOptions,
)
from argo_mw_persist.spool import OnDrained
from argo_mw_persist.testing import Postgres, postgres


@pytest.fixture
def own_server():
    with postgres() as running:
        yield running


def answers(count: int, *, since: int = 0) -> list[Answer]:
    return [Answer("bars", "k", "AAPL", None, "", since + number, b"") for number in range(count)]


async def record(store: RecordStore, some: list[Answer]) -> list[str]:
    receipts = [await store.record(answer.row()) for answer in some]
    return [await receipt for receipt in receipts]


async def stored_order(store: RecordStore) -> list[bytes]:
    """Identifiers in the order in which the rows were inserted."""
    return [row[0] for row in await store.sink.read(Query("SELECT id FROM answers ORDER BY ctid"))]


class Warnings(list):
    """The warnings of a sink, and a way to wait for one."""

    def __init__(self) -> None:
        super().__init__()
        self._more = asyncio.Condition()
        self._tasks = Tasks()

    def __call__(self, what: str) -> None:
        self.append(what)
        self._tasks.spawn("heard", self._notify())

    async def _notify(self) -> None:
        async with self._more:
            self._more.notify_all()

    async def until(self, part: str) -> None:
        async with self._more, asyncio.timeout(60):
            await self._more.wait_for(lambda: any(part in what for what in self))


def spooled_store(
    url: str,
    state: Path,
    warnings: Warnings,
    tasks: Tasks,
    drained: OnDrained = lambda rows: None,
    **config,
) -> RecordStore:
    clock = SystemClock()
    settings = PersistConfig(url=Secret(url), **config)
    sink = settings.bridged(
        state, clock=clock, tasks=tasks, on_warning=warnings, on_drained=drained
    )
    return RecordStore(sink, settings.writer, clock=clock, on_warning=warnings)


async def test_the_spool_bridges_a_killed_postgres_and_drains_in_order(
    own_server: Postgres, tmp_path
):
    tasks, warnings = Tasks(), Warnings()
    before, during, after = answers(2_000), answers(2_000, since=2_000), answers(500, since=4_000)
    url = own_server.database("bridged")
    drained: list[bytes] = []

    def note(rows: Sequence[Row]) -> None:
        drained.extend(row.cells[0] for row in rows)

    async with spooled_store(url, tmp_path, warnings, tasks, note) as store:
        assert {"sink"} == set(await record(store, before))
        own_server.kill()
        assert {"spool"} == set(await record(store, during))
        own_server.start()
        await warnings.until("takes records again")
        assert {"sink"} == set(await record(store, after))
        assert [answer.id for answer in during] == drained
        everything = {answer.id for answer in [*before, *during, *after]}
        stored = await stored_order(store)
        assert everything == set(stored)
        assert len(everything) == len(stored)
        assert any("go to the spool" in what for what in warnings)
    await tasks.aclose()


async def test_a_program_that_starts_while_postgres_is_away_spools_and_the_next_one_drains(
    own_server: Postgres, tmp_path
):
    url = own_server.database("late")
    own_server.kill()
    some = answers(100)
    tasks, warnings = Tasks(), Warnings()
    async with spooled_store(url, tmp_path, warnings, tasks) as store:
        assert {"spool"} == set(await record(store, some))
    await tasks.aclose()
    own_server.start()
    tasks, warnings = Tasks(), Warnings()
    async with spooled_store(url, tmp_path, warnings, tasks) as store:
        await warnings.until("takes records again")
        assert [answer.id for answer in some] == await stored_order(store)
    await tasks.aclose()


async def test_what_a_killed_program_had_spooled_is_drained_by_the_next_one(
    own_server: Postgres, tmp_path, start_child
):
    url = own_server.database("orphaned")
    own_server.kill()
    child = start_child("load", url)
    lines = []
    for line in child.stdout:
        lines.append(line)
        if len(lines) == 1_500:
            child.kill()
    acknowledged = {line.strip() for line in lines if line.endswith("\n")}
    assert len(acknowledged) >= 1_500
    own_server.start()
    tasks, warnings = Tasks(), Warnings()
    async with spooled_store(url, tmp_path / "state", warnings, tasks) as store:
        await warnings.until("takes records again")
        stored = [identifier.hex() for identifier in await stored_order(store)]
        assert set() == acknowledged - set(stored)
        assert len(stored) == len(set(stored))
    await tasks.aclose()


async def test_without_a_spool_records_wait_within_their_bound_and_are_kept_in_the_end(
    own_server: Postgres, tmp_path
):
    url = own_server.database("waiting")
    tasks, warnings = Tasks(), Warnings()
    writer = WriterOptions(max_queued=300)
    async with spooled_store(
        url, tmp_path, warnings, tasks, max_spool_bytes=0, writer=writer
    ) as store:
        assert {"sink"} == set(await record(store, answers(200)))
        own_server.kill()
        recording = asyncio.create_task(record(store, answers(1_000, since=200)))
        await warnings.until("until they can be written")
        assert store.writer.held == 300
        assert not recording.done()
        own_server.start()
        assert {"sink"} == set(await recording)
        assert len(await stored_order(store)) == 1_200
    await tasks.aclose()


async def test_a_full_spool_refuses_rather_than_lose_what_it_had_acknowledged(
    own_server: Postgres, tmp_path
):
    url = own_server.database("bounded")
    tasks, warnings = Tasks(), Warnings()
    writer = WriterOptions(retry_timeout=0.0, max_batch=128)
    bound = 128 * 1024
    async with spooled_store(
        url, tmp_path, warnings, tasks, max_spool_bytes=bound, writer=writer
    ) as store:
        own_server.kill()
        some = answers(3_000)
        receipts = [await store.record(answer.row()) for answer in some]
        results = await asyncio.gather(*receipts, return_exceptions=True)
        kept = [s.id for s, result in zip(some, results, strict=True) if result == "spool"]
        lost = [result for result in results if isinstance(result, NotRecorded)]
        assert 0 < len(kept) < len(some)
        assert len(some) == len(kept) + len(lost)
        assert "full" in str(lost[0])
        assert bound >= (tmp_path / "persist-spool.db").stat().st_size
        own_server.start()
        await warnings.until("takes records again")
        assert set(kept) == set(await stored_order(store))
    await tasks.aclose()


async def test_a_poison_row_in_the_spool_becomes_a_dead_letter_and_stops_nothing(
    own_server: Postgres, tmp_path
):
    url = own_server.database("poisoned")
    tasks, warnings = Tasks(), Warnings()
    # SQLite takes text with a NUL, PostgreSQL does not.
    poison = Answer("bars", "k", "A\0", None, "", 1, b"")
    async with spooled_store(url, tmp_path, warnings, tasks) as store:
        own_server.kill()
        assert {"spool"} == set(await record(store, [*answers(10), poison, *answers(10, since=9)]))
        own_server.start()
        await warnings.until("takes records again")
        assert len(await stored_order(store)) == 20
        [(source, reason)] = await store.sink.read(Query("SELECT source, reason FROM dead_letters"))
        assert source == "answers"
        assert "refuses" in reason
    await tasks.aclose()
