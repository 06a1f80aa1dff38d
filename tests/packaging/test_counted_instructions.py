"""Instructions are counted exactly, and hot paths execute no more of them than they did."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.bench import instructions
from tests.bench._bars import declared
from tests.bench._callgrind import CannotCount, Turn, _read, count

PROFILE = """\
version: 1
events: Ir
fn=_PyEval_EvalFrameDefault
10 700
cfn=_PyObject_Malloc
calls=3 20
10 99
11 200
fn=_PyObject_Malloc'2
20 90
cfn=new_arena.constprop.0
calls=1 30
20 9
fn=new_arena.constprop.0
30 9
totals: 999
"""


async def counted(module: str, *words: str) -> dict[str, Turn]:
    """Return what the turns of *module* execute, or skip the test where that cannot be counted."""
    try:
        return dict(await count(f"tests.bench.{module}", *words))
    except CannotCount as error:
        pytest.skip(str(error))


def test_what_the_allocator_spends_is_left_out_and_its_calls_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "out.1-01"
    file.write_text(PROFILE)
    account = _read(file)
    assert (900, 3) == (account.instructions, account.memory)


def test_a_python_without_names_of_its_functions_cannot_be_counted(tmp_path: Path) -> None:
    file = tmp_path / "out.1-01"
    file.write_text(PROFILE.replace("_PyObject_Malloc", "0x12345"))
    with pytest.raises(CannotCount, match="without the names"):
        _read(file)


def test_counts_of_another_python_are_not_compared_with_those_recorded() -> None:
    before = instructions.recorded()
    same = {name: Turn(float(many), 0.0, 0.0) for name, many in before.items()}
    yardstick = Turn(before["yardstick"] * 1.1, 0.0, 0.0)
    assert dict.fromkeys(instructions.WAYS, 1.0) == instructions.beside_recorded(same)
    assert None is instructions.beside_recorded({**same, "yardstick": yardstick})


def test_a_hot_path_that_executes_three_per_cent_more_is_named() -> None:
    assert ["miss"] == instructions.slower({"hit": 1.019, "miss": 1.03, "get": 0.5})
    assert [] == instructions.slower(None)


async def hit_of(which: str) -> float:
    """Return what a hit executes in a program of the dashboard's stage."""
    return (await counted("dashboard_stage.hits", which))["hit"].instructions


@pytest.mark.heavy
async def test_one_assignment_in_a_turn_is_counted_and_nothing_where_nothing_is_added() -> None:
    turns = await counted("instructions_stage.known")
    turn = turns["turn"]
    assert abs(turns["again"].instructions - turn.instructions) < 1.0
    assert 5.0 < turns["assignment"].instructions - turn.instructions < 100.0
    assert 0.0 == round(turns["assignment"].memory - turn.memory, 1)
    assert 2.0 == round(turns["object"].memory - turn.memory, 1)


@pytest.mark.heavy
async def test_a_dashboard_that_nobody_watches_adds_nothing_to_a_hit_and_a_slight_plugin_is_seen() -> (
    None
):
    without, dashboard, slower = await asyncio.gather(*map(hit_of, ("without", "with", "slower")))
    bar = next(bar for bar in declared() if "extra_instructions" == bar.key)
    if not bar.judge({"extra_instructions": dashboard - without}).met:
        # One process in some twenty executed 839 more in all its sections, and it was not found
        # why. What the dashboard adds, each of its processes executes.
        again = await asyncio.gather(*map(hit_of, ("without", "with")))
        without, dashboard = min(without, again[0]), min(dashboard, again[1])
    assert bar.judge({"extra_instructions": dashboard - without}).met
    assert not bar.judge({"extra_instructions": slower - without}).met


@pytest.mark.heavy
async def test_hot_paths_execute_no_more_than_was_recorded() -> None:
    """A change that is meant is recorded by ``make bench NAME=instructions ARGS=--record``."""
    beside = instructions.beside_recorded(await counted("instructions_stage.ways"))
    if beside is None:
        pytest.skip("what was recorded is of another Python or machine")
    assert [] == instructions.slower(beside), beside
