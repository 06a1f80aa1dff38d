"""The small parts: identifiers, room, pace, bisection."""

from __future__ import annotations

import asyncio
import os
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from argo_mw_persist import Answer, Charge, RowsRefused, Signal, ids
from argo_mw_persist.pace import Pace
from argo_mw_persist.poison import write_sound
from argo_mw_persist.records import restored
from argo_mw_persist.room import Room
from argo_mw_persist.tables import DEAD_LETTERS


@given(st.lists(st.floats(min_value=0, max_value=2**47 / 1000), max_size=50))
def test_identifiers_grow_whatever_the_clock_does(times):
    moments = iter(times)
    make = ids.Ids(lambda: next(moments))
    made = [make() for _ in times]
    assert sorted(set(made)) == made
    assert all(uuid.UUID(bytes=one).version == 7 for one in made)
    assert all(uuid.UUID(bytes=one).variant == uuid.RFC_4122 for one in made)


def test_an_identifier_says_when_it_was_made_and_reads_back():
    one = ids.Ids(lambda: 1_750_000_000.123)()
    assert int.from_bytes(one[:6], "big") == 1_750_000_000_123
    assert one == ids.parse(ids.text(one))


def test_a_forked_child_does_not_go_on_where_its_parent_does():
    make = ids.Ids(lambda: 1.0)
    make()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, make())
        os._exit(0)
    os.waitpid(child, 0)
    assert make() != os.read(reading, 16)
    os.close(reading)
    os.close(writing)


async def test_room_is_given_in_the_order_of_asking():
    room = Room(1)
    assert room.try_enter()
    came: list[int] = []

    async def come(number: int) -> None:
        await room.enter()
        came.append(number)

    tasks = [asyncio.create_task(come(number)) for number in range(3)]
    await asyncio.sleep(0)
    assert not room.try_enter()
    for _ in range(3):
        room.leave(1)
        await asyncio.sleep(0)
        # Nobody overtakes those who wait.
        assert not room.try_enter()
    await asyncio.gather(*tasks)
    assert came == [0, 1, 2]
    assert room.held == 1


async def test_who_leaves_while_waiting_takes_no_room_along():
    room = Room(1)
    assert room.try_enter()
    patient, leaving = (asyncio.create_task(room.enter()) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert room.waiting == 1
    room.leave(1)
    await patient
    assert (room.held, room.waiting) == (1, 0)


async def test_who_leaves_just_before_room_is_given_is_passed_over():
    room = Room(1)
    assert room.try_enter()
    leaving, next_one = (asyncio.create_task(room.enter()) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    room.leave(1)
    await next_one
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert (room.held, room.waiting) == (1, 0)


async def test_room_given_in_the_moment_of_cancellation_goes_to_the_next():
    room = Room(1)
    assert room.try_enter()
    leaving, next_one = (asyncio.create_task(room.enter()) for _ in range(2))
    await asyncio.sleep(0)
    room.leave(1)
    leaving.cancel()
    await next_one
    assert (room.held, room.waiting) == (1, 0)


def run_pace(pace: Pace, *, fixed: float, per_row: float, batches: int = 200) -> None:
    for _ in range(batches):
        pace.learn(pace.size, fixed + per_row * pace.size)


@given(
    fixed=st.floats(min_value=0, max_value=0.1),
    per_row=st.floats(min_value=1e-6, max_value=1e-2),
)
@example(fixed=0.0390625, per_row=0.00017451194191648426)
def test_the_rows_of_a_batch_take_about_their_target(fixed, per_row):
    pace = Pace(target=0.05, smallest=64, largest=4096)
    run_pace(pace, fixed=fixed, per_row=per_row)
    assert 64 <= pace.size <= 4096
    ideal = 0.05 / per_row
    if 64 <= ideal <= 4096 and fixed < 0.04:
        assert ideal / 4 <= pace.size <= ideal * 2


def test_a_slow_commit_does_not_make_batches_small():
    """The fixed part is spread over more rows, not fewer."""
    pace = Pace(target=0.05, smallest=64, largest=4096)
    run_pace(pace, fixed=0.03, per_row=1e-5)
    assert pace.size >= 1024


def test_a_sink_that_becomes_slower_gets_smaller_batches():
    pace = Pace(target=0.05, smallest=64, largest=4096)
    run_pace(pace, fixed=0.001, per_row=1e-5)
    fast = pace.size
    # Batches under way are not all full, so the slope shows.
    for number in range(200):
        rows = pace.size if number % 3 else max(1, pace.size // 2)
        pace.learn(rows, 0.001 + 1e-3 * rows)
    assert pace.size <= fast // 8


class Picky:
    """A sink that refuses some rows, and counts what it was asked."""

    def __init__(self, refused: set[bytes]) -> None:
        self.refused = refused
        self.kept: list[object] = []
        self.letters: list[object] = []
        self.writes = 0

    async def write(self, entries) -> str:
        self.writes += 1
        if any(e.row[0] in self.refused and e.table is not DEAD_LETTERS for e in entries):
            raise RowsRefused("not these")
        for entry in entries:
            (self.letters if entry.table is DEAD_LETTERS else self.kept).append(entry.row[0])
        return "sink"


@given(st.sets(st.integers(0, 99), max_size=5))
def test_bisection_keeps_the_sound_rows_in_order_and_buries_the_others(bad):
    entries = [Signal("A", "BUY", 1.0, n).entry() for n in range(100)]
    sink = Picky({entries[n].row[0] for n in bad})
    written = asyncio.run(write_sound(sink, entries, now=1.0))
    assert [e.row[0] for n, e in enumerate(entries) if n not in bad] == sink.kept
    assert {entries[n].row[0] for n in bad} == set(sink.letters)
    assert {entries[n] for n in bad} == set(written.refused)


async def test_one_poison_row_in_a_thousand_costs_few_transactions():
    entries = [Signal("A", "BUY", 1.0, n).entry() for n in range(1_000)]
    sink = Picky({entries[617].row[0]})
    await write_sound(sink, entries, now=1.0)
    assert len(sink.kept) == 999
    assert sink.writes <= 2 * 10 + 2


@pytest.mark.parametrize(
    "broken",
    [
        Signal("", "BUY", 1.0, 1),
        Signal("A", "BUY", float("nan"), 1),
        Signal("A", "BUY", float("inf"), 1),
        Signal("A" * 200, "BUY", 1.0, 1),
    ],
)
def test_a_signal_that_makes_no_sense_is_refused_before_it_is_queued(broken):
    from argo_mw import BadParameter

    with pytest.raises(BadParameter, match="a signal needs"):
        broken.entry()


@pytest.mark.parametrize("timestamp", [1.5, "2026-01-01", None, True, 1_750_000_000 * 10**9, 2**63])
def test_a_time_in_other_units_is_refused_before_it_is_queued(timestamp):
    from argo_mw import BadParameter

    with pytest.raises(BadParameter, match="whole microseconds"):
        Signal("A", "BUY", 1.0, timestamp).entry()


@pytest.mark.parametrize(
    "entry",
    [
        Signal("A", "BUY", 1.0, 1).entry(),
        Answer("o", "k", "A", None, "", 1, b"").entry(),
        Charge("", "o", "A", "glm", 1, "ok", 0.1, None, 0, 0, 1.0, False).entry(),
    ],
)
def test_a_row_that_was_spooled_changes_what_it_would_have_changed_before(entry):
    again = restored(entry.table, entry.row)
    assert (entry.row, entry.tags) == (again.row, again.tags)
