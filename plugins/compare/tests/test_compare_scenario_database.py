"""The scenario of the database, with few rows."""

from __future__ import annotations

from attrs import evolve

from argo_mw_compare.scenarios.database import Database
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
    assert {"20 signals a second", "100 signals a second", "a held database"} == phases


async def test_a_signal_of_the_original_is_lost_when_another_program_holds_the_database(tmp_path):
    seen = await evolve(SMALL, patience=0.05, locked=1.0, locked_signals=1).before(tmp_path)
    assert (1, 1) == (seen.lost_to_lock, seen.expected - seen.stored)
    assert seen.held >= 0.05
