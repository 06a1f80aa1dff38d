"""Try mutants in forks of a process that has collected the tests of an area.

To start pytest and import everything takes longer than the few tests that kill most mutants. So the
tests are collected once and run once without any change, which tells which of them run which lines.
For each mutant a fork changes the functions and runs the tests that reach them: first those that
have killed others of the same file, then the quickest.
"""

from __future__ import annotations

import gc
import json
import mmap
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from attrs import define, field, frozen

from tests.mutants import bodies, forked, reach, trial
from tests.mutants.sample import ROOT, Mutant


@frozen
class Found:
    """What was found of the mutants of an area.

    Attributes:
        seconds: How long its tests take without any change.
        killed: Of each mutant, whether it is killed. Others may be as well: tests that run the line
            at import, or change what is made there, count for :mod:`tests.mutants.trial` alone.
    """

    seconds: float
    killed: Sequence[bool]


def try_all(
    tests: Sequence[Path], sources: Sequence[Path], mutants: Sequence[Mutant]
) -> Found | None:
    """Try *mutants* of *sources*; None if *tests* fail without any change."""
    with TemporaryFile("w+") as notes:

        def work() -> bool:
            loop = _Loop(sources, mutants)
            names = [str(ROOT / one) for one in tests]
            pytest.main([*trial.OPTIONS, *names], plugins=[loop])
            json.dump([loop.seconds, loop.killed], notes)
            notes.flush()
            return len(loop.killed) == len(mutants)

        if not forked.is_true(work):
            return None
        notes.seek(0)
        return Found(*json.load(notes))


@define(eq=False)
class _Loop:
    """A plugin of pytest that tries mutants in place of running the tests once."""

    _sources: Sequence[Path]
    _mutants: Sequence[Mutant]
    seconds: float = 0.0
    killed: list[bool] = field(factory=list)
    _failed: bool = False
    _killers: defaultdict[Path, Counter[str]] = field(factory=lambda: defaultdict(Counter))
    _at: mmap.mmap = field(factory=lambda: mmap.mmap(-1, 4))
    """Which of its tests a fork is at; shared with it."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed = self._failed or report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        seen = None
        if not session.testsfailed:
            seen = reach.measure(session.items, self._sources, self._passes)
        if seen is not None:
            self.seconds = sum(seen.seconds.values())
            gc.freeze()  # forks share what is there, which a collection would write to
            for mutant in self._mutants:
                self.killed.append(self._kill(mutant, session.items, seen))
        return True

    def _kill(self, mutant: Mutant, items: Sequence[pytest.Item], seen: reach.Reach) -> bool:
        codes = bodies.changed(mutant)
        reaching = seen.tests(mutant.file, bodies.statement(mutant))
        if not codes or not reaching:
            return False
        killers = self._killers[mutant.file]
        chosen = sorted(
            (item for item in items if item.nodeid in reaching),
            key=lambda item: (-killers[item.nodeid], seen.seconds[item.nodeid]),
        )

        def survives() -> bool:
            gc.unfreeze()
            if not bodies.put(codes):
                return True
            for number, item in enumerate(chosen):
                self._at[:] = number.to_bytes(4)
                forked.end_after(10 + 12 * seen.seconds[item.nodeid])
                if not self._passes(item):
                    return False
            return True

        if forked.is_true(survives):
            return False
        killers[chosen[int.from_bytes(self._at[:])].nodeid] += 1
        return True

    def _passes(self, item: pytest.Item) -> bool:
        """Run *item* alone, with what it needs set up before and taken down after it."""
        item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
        return not self._failed
