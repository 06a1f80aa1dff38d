"""Telling requested cancellations from deadlines, and from failures that look like cancellations.

Code may raise ``CancelledError`` although nobody has cancelled its task: a connection pool gives up
the task that a request waits for, a library ends its own nursery. That is a failure of that code:
passed on, it would end a caller's task that nobody wants to end. The same holds for any other
exception outside ``Exception``, such as a ``GeneratorExit`` that code raises by itself, or the
panic of a native library; but not for ``KeyboardInterrupt`` and ``SystemExit``, which end the
program.
"""

from __future__ import annotations

import asyncio
from typing import Final

TIME_LIMIT: Final = "argo-mw: the deadline passed"
"""The message of a cancellation by a deadline."""


def is_failure(error: BaseException) -> bool:
    """Return whether *error*, just caught, is a failure of the awaited code.

    A ``CancelledError`` is one while nobody has asked the current task to end, and a
    ``GeneratorExit`` unless the coroutine that caught it is being closed.
    """
    if isinstance(error, Exception):
        return True
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and not task.cancelling()
    if isinstance(error, GeneratorExit):
        return _comes_from_below(error)
    return not isinstance(error, (KeyboardInterrupt, SystemExit))


def _comes_from_below(error: BaseException) -> bool:
    """Return whether *error*, just caught, was raised in what the catching code awaited.

    Closing a coroutine raises another ``GeneratorExit`` in each coroutine that waits in it.
    """
    below = error.__traceback__
    here = None if below is None else below.tb_frame
    while below is not None and below.tb_frame is here:
        below = below.tb_next
    return below is not None


def is_time_limit(error: asyncio.CancelledError) -> bool:
    """Return whether *error* comes from a deadline of the waiting task.

    If there are several causes, the first one counts.
    """
    return error.args == (TIME_LIMIT,)


def described(error: BaseException) -> str:
    """Describe *error*, a failure, by its type and text."""
    if isinstance(error, asyncio.CancelledError):
        return "CancelledError, although nobody has cancelled the call"
    return f"{type(error).__name__}: {message_of(error)}"


def message_of(error: BaseException) -> str:
    """Return the message of *error*, or a placeholder if reading it raises.

    What a call has reserved must be given back even if its error cannot be printed.
    """
    try:
        return str(error)
    except Exception as failure:
        return f"its message cannot be read: {type(failure).__name__}"
