"""Cancellations: those that somebody asked for, those of a deadline, and failures that look alike.

Code may raise ``CancelledError`` although nobody has cancelled its task: a connection pool gives up
the task that a request waits for, a library ends its own nursery. That is a failure of that code.
Passed on, it would end a caller's task that nobody wants to end.
"""

from __future__ import annotations

import asyncio
from typing import Final

TIME_LIMIT: Final = "argo-mw: the deadline passed"
"""The message of a cancellation by a deadline."""


def is_failure(error: BaseException) -> bool:
    """Return whether *error*, just caught, is a failure of the awaited code.

    A ``CancelledError`` is one while nobody has asked the current task to end.
    """
    if not isinstance(error, asyncio.CancelledError):
        return isinstance(error, Exception)
    task = asyncio.current_task()
    return task is not None and not task.cancelling()


def is_time_limit(error: asyncio.CancelledError) -> bool:
    """Return whether *error* comes from a deadline: the time of whoever waits here is up.

    Of several causes the first one counts.
    """
    return error.args == (TIME_LIMIT,)


def described(error: BaseException) -> str:
    """Describe *error*, a failure, by its type and text."""
    if isinstance(error, asyncio.CancelledError):
        return "CancelledError, although nobody has cancelled the call"
    return f"{type(error).__name__}: {error}"
