"""The small parts: the capacity limiter, batch sizes, bisection, restored rows."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from argo_mw.plugin import Charge, ConfigError, Cost, Row
from argo_mw_persist import Answer, RowsRefused, Schema
from argo_mw_persist.batch_size import BatchSize
from argo_mw_persist.capacity_limiter import CapacityLimiter
from argo_mw_persist.costs import charge_row
from argo_mw_persist.dead_letters import write_sound
from argo_mw_persist.tables import DEAD_LETTERS
from argo_mw_persist.testing import SAMPLES, SCHEMA, sample


async def test_waiting_callers_go_on_in_the_order_in_which_they_asked():
    limiter = CapacityLimiter(1)
    assert limiter.try_acquire()
    came: list[int] = []

    async def come(number: int) -> None:
        await limiter.acquire()
        came.append(number)

    tasks = [asyncio.create_task(come(number)) for number in range(3)]
    await asyncio.sleep(0)
    assert not limiter.try_acquire()
    for _ in range(3):
        limiter.release(1)
        await asyncio.sleep(0)
        # No caller overtakes those that wait.
        assert not limiter.try_acquire()
    await asyncio.gather(*tasks)
    assert came == [0, 1, 2]
    assert limiter.held == 1


async def test_a_caller_who_leaves_while_waiting_takes_up_no_capacity():
    limiter = CapacityLimiter(1)
    assert limiter.try_acquire()
    patient, leaving = (asyncio.create_task(limiter.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert limiter.waiting == 1
    limiter.release(1)
    await patient
    assert (limiter.held, limiter.waiting) == (1, 0)


async def test_a_caller_who_leaves_just_before_a_release_is_passed_over():
    limiter = CapacityLimiter(1)
    assert limiter.try_acquire()
    leaving, next_one = (asyncio.create_task(limiter.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    limiter.release(1)
    await next_one
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert (limiter.held, limiter.waiting) == (1, 0)


async def test_capacity_granted_in_the_moment_of_cancellation_goes_to_the_next():
    limiter = CapacityLimiter(1)
    assert limiter.try_acquire()
    leaving, next_one = (asyncio.create_task(limiter.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    limiter.release(1)
    leaving.cancel()
    await next_one
    assert (limiter.held, limiter.waiting) == (1, 0)


def learn(size: BatchSize, *, fixed: float, per_row: float, batches: int = 200) -> None:
    for _ in range(batches):
        size.learn(size.size, fixed + per_row * size.size)


@given(
    fixed=st.floats(min_value=0, max_value=0.1),
    per_row=st.floats(min_value=1e-6, max_value=1e-2),
)
@example(fixed=0.0390625, per_row=0.00017451194191648426)
def test_the_rows_of_a_batch_take_about_their_target(fixed, per_row):
    size = BatchSize(target=0.05, smallest=64, largest=4096)
    learn(size, fixed=fixed, per_row=per_row)
    assert 64 <= size.size <= 4096
    ideal = 0.05 / per_row
    if 64 <= ideal <= 4096 and fixed < 0.04:
        assert ideal / 4 <= size.size <= ideal * 2


def test_a_slow_commit_does_not_make_batches_small():
    """The fixed part is spread over more rows, not fewer."""
    size = BatchSize(target=0.05, smallest=64, largest=4096)
    learn(size, fixed=0.03, per_row=1e-5)
    assert size.size >= 1024


def test_a_sink_that_becomes_slower_gets_smaller_batches():
    size = BatchSize(target=0.05, smallest=64, largest=4096)
    learn(size, fixed=0.001, per_row=1e-5)
    fast = size.size
    # Batches under way are not all full, so the slope shows.
    for number in range(200):
        rows = size.size if number % 3 else max(1, size.size // 2)
        size.learn(rows, 0.001 + 1e-3 * rows)
    assert size.size <= fast // 8


class Picky:
    """A sink that refuses some rows, and counts what it was asked."""

    def __init__(self, refused: set[bytes]) -> None:
        self.refused = refused
        self.kept: list[object] = []
        self.letters: list[object] = []
        self.writes = 0

    async def write(self, rows) -> str:
        self.writes += 1
        if any(row.cells[0] in self.refused and row.table != DEAD_LETTERS.name for row in rows):
            raise RowsRefused("not these")
        for row in rows:
            (self.letters if row.table == DEAD_LETTERS.name else self.kept).append(row.cells[0])
        return "sink"


@given(st.sets(st.integers(0, 99), max_size=5))
def test_bisection_keeps_the_sound_rows_in_order_and_sets_the_others_apart(bad):
    rows = [sample("A", n) for n in range(100)]
    sink = Picky({rows[n].cells[0] for n in bad})
    written = asyncio.run(write_sound(sink, SCHEMA, rows, now=1.0))
    assert [row.cells[0] for n, row in enumerate(rows) if n not in bad] == sink.kept
    assert {rows[n].cells[0] for n in bad} == set(sink.letters)
    assert {rows[n] for n in bad} == set(written.refused)


async def test_one_refused_row_in_a_thousand_costs_few_transactions():
    rows = [sample("A", n) for n in range(1_000)]
    sink = Picky({rows[617].cells[0]})
    await write_sound(sink, SCHEMA, rows, now=1.0)
    assert len(sink.kept) == 999
    assert sink.writes <= 2 * 10 + 2


@pytest.mark.parametrize(
    "row",
    [
        sample("A", 1, done=True),
        sample("A", 1),
        Answer("o", "k", "A", None, "", 1, b"").row(),
        charge_row(Charge(1.0, "", "o", "A", "glm", "ok", Cost(usd=None), 0.1)),
    ],
)
def test_a_row_that_was_spooled_changes_what_it_would_have_changed_before(row: Row):
    again = SCHEMA[row.table].restored(row.cells)
    assert (row.cells, row.tags) == (again.cells, again.tags)


def test_two_tables_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="'samples' is declared twice"):
        Schema([*SCHEMA, SAMPLES])
