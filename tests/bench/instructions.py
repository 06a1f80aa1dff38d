"""How many instructions the hot paths execute, which nothing else that a machine does can change.

It takes two minutes: callgrind runs one program 50 times as slowly. :mod:`tests.bench._callgrind` says what
is counted. All layers that a quote meets are in the chain, over the memory store, and the clock stands still.

- ``hit``: an answer from memory. ``get``: one from a shared store that answers turns of the event loop later,
  without the memory level. ``miss``: a new answer, of a function that answers at once. ``encode`` and
  ``decode``: a frame of 90 bars.
- ``vs_recorded``: each beside what ``instructions.toml`` has; ``None`` where that is not comparable, because
  Python or the machine are others. ``yardstick`` is work that is never changed, by which that is seen.
- ``slower``: how many of them execute over 2 % more than is recorded.
- ``memory``: how often each asks for memory or gives it back.

After a change that is meant, ``--record`` writes down what is counted.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping
from pathlib import Path

from tests.bench._callgrind import CannotCount, Turn, count

FILE = Path(__file__).with_suffix(".toml")
WAYS = ("hit", "get", "miss", "encode", "decode")
YARDSTICK = "yardstick"
TOLERANCE = 0.02
SAME = 0.005
"""By so much the yardstick differs at most in the same Python on a like machine."""

_HEAD = """\
# What a turn of each hot path executes: see instructions.py. Written by
# make bench NAME=instructions ARGS=--record

"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options."""
    parser.add_argument("--record", action="store_true", help=f"write {FILE.name}")


async def run(args: argparse.Namespace) -> dict[str, object]:
    """Return all figures."""
    try:
        turns = await count("tests.bench.instructions_stage.ways")
    except CannotCount as error:
        print(f"instructions are not counted: {error}")
        return dict.fromkeys(("slower", "vs_recorded"))
    if args.record:
        record(turns)
    beside = beside_recorded(turns)
    if beside is None:
        print("not comparable: the yardstick shows another Python or machine than was recorded")
    return {
        **{name: round(turn.instructions) for name, turn in turns.items()},
        "memory": {name: round(turn.memory, 1) for name, turn in turns.items()},
        "vs_recorded": beside,
        "slower": len(slower(beside)),
    }


def recorded() -> Mapping[str, int]:
    """Return the instructions that are recorded, by way."""
    found: dict[str, int] = tomllib.loads(FILE.read_text("utf-8"))
    return found


def beside_recorded(turns: Mapping[str, Turn]) -> Mapping[str, float] | None:
    """Return each way's instructions divided by those recorded, or ``None`` if these are of another Python."""
    before = recorded()
    if abs(turns[YARDSTICK].instructions / before[YARDSTICK] - 1.0) > SAME:
        return None
    return {name: round(turns[name].instructions / before[name], 4) for name in WAYS}


def slower(beside: Mapping[str, float] | None) -> list[str]:
    """Return the ways that execute more than was recorded, and than is tolerated."""
    return [name for name, ratio in (beside or {}).items() if ratio > 1.0 + TOLERANCE]


def record(turns: Mapping[str, Turn]) -> None:
    """Write down what *turns* execute."""
    lines = (f"{name} = {turn.instructions:.0f}\n" for name, turn in turns.items())
    FILE.write_text(_HEAD + "".join(lines), "utf-8")
