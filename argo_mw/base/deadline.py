"""Deadlines: wall-clock limits that hold whatever the awaited code does.

A deadline arms its timer only once the awaited code suspends: code that never suspends cannot be
interrupted by a timer anyway, and a call that is answered at once should not pay for one
(measured in ``tests/bench/pipeline.py``: about 2 µs a call).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import TypeVar

from argo_mw.base.cancellation import TIME_LIMIT
from argo_mw.base.clock import Clock, Timer

T = TypeVar("T")


class TimeLimitExceeded(Exception):
    """The deadline passed; the awaited code was cancelled and has ended."""


@coroutine
def fail_at(
    code: Coroutine[object, object, T], deadline: float, clock: Clock
) -> Generator[object, object, T]:
    """Await *code*, but cancel it at *deadline*, in monotonic seconds of *clock*.

    Raises:
        TimeLimitExceeded: The deadline passed first. A cancellation from elsewhere stays one.
    """
    try:
        waited_for = code.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    alarm = _Alarm()
    timer: Timer = clock.call_at(deadline, alarm.ring)
    try:
        while True:
            try:
                yield waited_for
            except GeneratorExit:
                code.close()
                raise
            except BaseException as error:
                waited_for = code.throw(error)
            else:
                answer: T = yield from code
                alarm.answered()
                return answer
    except StopIteration as done:
        alarm.answered()
        return done.value  # type: ignore[no-any-return]
    except asyncio.CancelledError as error:
        if alarm.was_the_only_cause():
            raise TimeLimitExceeded from error
        raise
    except BaseException:
        alarm.answered()
        raise
    finally:
        timer.cancel()


class _Alarm:
    """A timer that cancels the current task, and knows whether it has."""

    __slots__ = ("_already", "_rang", "_task")

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "a deadline needs a running task"
        self._task = task
        self._already = task.cancelling()
        self._rang = False

    def ring(self) -> None:
        self._rang = True
        self._task.cancel(TIME_LIMIT)

    def answered(self) -> None:
        """Take the cancellation back: the awaited code has ended in something else."""
        if self._rang:
            self._task.uncancel()

    def was_the_only_cause(self) -> bool:
        return self._rang and self._task.uncancel() <= self._already
