"""Mutate a sample and say what the tests notice: ``python -m tests.mutants [AREA …]``.

A survivor is a fault that the tests of its own package would let through. Either a test is missing,
or the change makes no difference that anybody could see: then ``judged.toml`` says why.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from tests.mutants import collected, trial
from tests.mutants.sample import ROOT, Mutant, distinct, mutants, sample

HERE = Path(__file__).parent
BAR = 0.95
"""What share of the mutants must be killed, those left out that are judged to change nothing."""


@frozen
class Area:
    """What is mutated, and the tests that must notice."""

    name: str
    sources: tuple[Path, ...]
    tests: tuple[Path, ...]


def areas() -> list[Area]:
    """Read the areas."""
    tables = tomllib.loads((HERE / "areas.toml").read_text("utf-8"))
    return [Area(name, _files(t["sources"]), _files(t["tests"])) for name, t in tables.items()]


def judged() -> Mapping[str, str]:
    """Read the mutants that change nothing that can be seen, each with why."""
    tables = tomllib.loads((HERE / "judged.toml").read_text("utf-8"))
    return {one["mutant"]: one["why"] for one in tables["equivalent"]}


def _files(patterns: Sequence[str]) -> tuple[Path, ...]:
    found = tuple(sorted({f for pattern in patterns for f in ROOT.glob(pattern)}))
    assert found, patterns
    return tuple(file.relative_to(ROOT) for file in found)


def main() -> int:
    """Run it; 1 if too many survive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("areas", nargs="*", help="all, if none is named")
    parser.add_argument("--size", type=int, default=24, help="mutants of each area")
    parser.add_argument("--seed", type=int, default=30)
    parser.add_argument(
        "--only", default="", help="all mutants whose name holds this, in place of a sample"
    )
    chosen = parser.parse_args()
    trial.preload()
    survived: list[Mutant] = []
    tried = 0
    for area in areas():
        if not chosen.areas or area.name in chosen.areas:
            if chosen.only:
                every = (one for file in area.sources for one in mutants(file))
                taken = [one for one in distinct(every) if chosen.only in one.name]
            else:
                taken = sample(area.sources, chosen.size, chosen.seed)
            found, number = try_area(area, taken)
            survived += found
            tried += number
    share = 1 - len(survived) / tried if tried else 0.0
    print(f"{tried - len(survived)} of {tried} killed, {share:.0%}; the bar is {BAR:.0%}")
    return int(share < BAR)


def try_area(area: Area, taken: Sequence[Mutant]) -> tuple[list[Mutant], int]:
    """Try those *taken* of *area*; return what survives, and how many can be killed.

    What the quick way does not kill is tried again with all tests, from the first import on.
    """
    known = judged()
    tried = [mutant for mutant in taken if mutant.name not in known]
    found = collected.try_all(area.tests, area.sources, tried)
    if found is None:
        raise SystemExit(f"{area.name}: its tests fail without any change")
    print(f"{area.name}: the tests take {found.seconds:.0f} s", flush=True)
    survived = []
    tests = [ROOT / test for test in area.tests]
    for mutant, killed in zip(tried, found.killed, strict=True):
        changed = (ROOT / mutant.file, mutant.source())
        if not killed and trial.passes(tests, 15 + 4 * found.seconds, changed):
            survived.append(mutant)
            print(f"  survived, line {mutant.line}: {mutant.name}", flush=True)
    print(f"{area.name}: {len(tried) - len(survived)} of {len(tried)} killed", flush=True)
    return survived, len(tried)


if __name__ == "__main__":
    sys.exit(main())
