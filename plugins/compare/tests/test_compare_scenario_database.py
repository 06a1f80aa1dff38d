"""The scenario of the database, with few rows."""

from __future__ import annotations

import pytest
from attrs import evolve

from argo_mw_compare.scenarios.crash import killed
from argo_mw_compare.scenarios.database import Database, Seen
from argo_mw_compare.scenarios.promise import by_key
from argo_mw_compare.scenarios.scenario import measure

SMALL = Database(
    rows=200, rates=(20, 100), seconds=0.3, reads=20.0, burst=30, locked=0.2, locked_signals=3
)


def test_both_services_keep_every_signal_and_answer_every_question(tmp_path):
    found = measure(SMALL, tmp_path)
    promises = by_key([found])
    assert 0.0 == promises["database.lost"]["before"]
    assert 0.0 == promises["database.lost"]["after"]
    assert promises["database.lost"]["met"]
    assert all(one.ours is not None for one in found.promises)
    phases = {one.phase for one in found.shown}
    assert 2 == sum(one.title == "a write, by medians" for one in found.shown)
    rates = {"20 signals a second", "100 signals a second"}
    assert {*rates, "a burst", "a held database", "a killed process"} == phases


def test_what_callers_wait_for_a_write_is_what_it_adds_to_their_call():
    seen = Seen(writes={1: [0.003], 50: [0.002, 0.004]}, unrecorded={1: [0.001], 50: [0.001] * 9})
    assert pytest.approx(2.0) == seen.write_ms()
    assert pytest.approx(2.0) == seen.write_ms(1)
    assert pytest.approx(3.0) == Seen(writes=seen.writes).write_ms(50)
    assert 0.0 == Seen(writes={1: [0.001]}, unrecorded={1: [0.002]}).write_ms()


@pytest.mark.parametrize("which", ["original", "chained"])
def test_a_killed_process_loses_nothing_that_was_acknowledged(which, tmp_path):
    found = killed(which, tmp_path / which)
    assert 0 == found.safe_lost
    assert found.given == 300
    assert found.safe > 200
    assert found.lost < 100


async def test_a_signal_of_the_original_is_lost_when_another_program_holds_the_database(tmp_path):
    seen = await evolve(SMALL, patience=0.05, locked=1.0, locked_signals=1).before(tmp_path)
    assert (1, 1) == (seen.lost_to_lock, seen.expected - seen.stored)
    assert seen.held >= 0.05
