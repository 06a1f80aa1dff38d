"""Which tests run which lines, and how long each takes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from attrs import frozen
from coverage import Coverage

from tests.mutants import forked
from tests.mutants.sample import ROOT

Run = Callable[[pytest.Item], bool]
"""Runs one test, and returns whether it passed."""


@frozen
class Reach:
    """What was seen of tests that ran without any change.

    Attributes:
        seconds: How long each test took, by its id.
        lines: The ids of the tests that ran a line, by file and line.
    """

    seconds: Mapping[str, float]
    lines: Mapping[str, Mapping[str, Sequence[str]]]

    def tests(self, file: Path, lines: Iterable[int]) -> set[str]:
        """Return the ids of the tests that ran one of *lines* of *file*."""
        of_file = self.lines.get(str(file), {})
        return {one for line in lines for one in of_file.get(str(line), ())}


def measure(items: Sequence[pytest.Item], sources: Sequence[Path], run: Run) -> Reach | None:
    """Run *items* in a forked process, and see what they reach in *sources*; None if one fails."""
    with TemporaryFile("w+") as notes:

        def work() -> bool:
            coverage = Coverage(
                data_file=None, config_file=False, include=[str(ROOT / one) for one in sources]
            )
            # The tracer that Python 3.14 has of its own sees a line for the first test alone.
            coverage.set_option("run:core", "ctrace")
            coverage.start()
            seconds = {}
            for item in items:
                coverage.switch_context(item.nodeid)
                began = time.perf_counter()
                if not run(item):
                    return False
                seconds[item.nodeid] = time.perf_counter() - began
            coverage.stop()
            json.dump([seconds, _lines(coverage)], notes)
            notes.flush()
            return True

        if not forked.is_true(work):
            return None
        notes.seek(0)
        return Reach(*json.load(notes))


def _lines(coverage: Coverage) -> dict[str, dict[int, list[str]]]:
    data = coverage.get_data()
    return {
        os.path.relpath(file, ROOT): data.contexts_by_lineno(file) for file in data.measured_files()
    }
