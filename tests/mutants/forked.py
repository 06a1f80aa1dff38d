"""Do something in a forked process, which stays silent and leaves nothing running."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

_YES, _NO = 0, 1


def is_true(work: Callable[[], bool]) -> bool:
    """Return what *work* returns in a process of its own; false if it raises or is ended."""
    child = os.fork()
    if child == 0:
        _in_child(work)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what it started ends with it
    return os.waitstatus_to_exitcode(status) == _YES


def end_after(seconds: float) -> None:
    """End this process after *seconds*, whatever it does then; asked again, only the last counts."""
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _in_child(work: Callable[[], bool]) -> None:
    code = _NO
    try:
        os.setpgid(0, 0)
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        code = _YES if work() else _NO
    finally:
        os._exit(code)
