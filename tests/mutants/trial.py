"""Run the tests of an area on changed source, in a process that is forked for it.

The change is never written: the import system of the child is handed the changed source instead of
the file's. What takes long to import is imported before the fork, and ours after it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

import pytest

HEAVY = ("attrs", "cattrs", "click", "hypothesis", "hypothesis.stateful", "msgspec", "rich.table")
_SURVIVED, _KILLED = 0, 1


def preload() -> None:
    """Import what every trial needs."""
    for name in HEAVY:
        importlib.import_module(name)


def run(tests: Sequence[Path], limit: float, changed: tuple[Path, str] | None = None) -> bool:
    """Tell whether *tests* pass.

    Args:
        tests: Files of tests.
        limit: How many seconds they may take; what takes longer has failed.
        changed: A file, and the source that stands in for its own.
    """
    child = os.fork()
    if child == 0:
        _in_child(tests, changed)
    ended = os.pidfd_open(child)
    try:
        in_time, _, _ = select.select([ended], [], [], limit)
    finally:
        os.close(ended)
    if not in_time:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return bool(in_time) and os.waitstatus_to_exitcode(status) == _SURVIVED


def _in_child(tests: Sequence[Path], changed: tuple[Path, str] | None) -> None:
    """Run *tests*, and end the process with whether they pass."""
    code = _KILLED
    try:
        os.setpgid(0, 0)  # what it starts ends with it
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        if changed is not None:
            _stand_in(*changed)
        options = [
            "-x",
            "-q",
            "--no-header",
            "-p",
            "no:cacheprovider",
            "-o",
            "faulthandler_timeout=0",
        ]
        names = ["-W", "ignore::pytest.PytestAssertRewriteWarning", *(str(test) for test in tests)]
        code = _SURVIVED if pytest.main([*options, *names]) == pytest.ExitCode.OK else _KILLED
    finally:
        os._exit(code)


def _stand_in(file: Path, source: str) -> None:
    """Let the import system take *source* for that of *file*."""
    target = os.path.realpath(file)
    given = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
        if os.path.realpath(self.path) == target:
            return compile(source, self.path, "exec", dont_inherit=True)
        return given(self, fullname)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign,assignment]
