"""Run the tests of an area on changed source, from the first import on.

The change is never written: the import system of a forked process is handed the changed source
instead of the file's. What takes long to import is imported before the fork, and ours after it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

import pytest

from tests.mutants import forked

HEAVY = ("attrs", "cattrs", "click", "hypothesis", "hypothesis.stateful", "msgspec", "rich.table")
OPTIONS = [
    *("-q", "--no-header"),
    *("-p", "no:cacheprovider", "-o", "faulthandler_timeout=0"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
]
"""For pytest, in a process that has imported some of its plugins before."""


def preload() -> None:
    """Import what every trial needs."""
    for name in HEAVY:
        importlib.import_module(name)


def passes(tests: Sequence[Path], limit: float, changed: tuple[Path, str]) -> bool:
    """Tell whether *tests* pass.

    Args:
        tests: Files of tests.
        limit: How many seconds they may take; what takes longer has failed.
        changed: A file, and the source that stands in for its own.
    """

    def work() -> bool:
        forked.end_after(limit)
        _stand_in(*changed)
        return pytest.main(["-x", *OPTIONS, *map(str, tests)]) == pytest.ExitCode.OK

    return forked.is_true(work)


def _stand_in(file: Path, source: str) -> None:
    """Let the import system take *source* for that of *file*."""
    target = os.path.realpath(file)
    given = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
        if os.path.realpath(self.path) == target:
            return compile(source, self.path, "exec", dont_inherit=True)
        return given(self, fullname)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign,assignment]
