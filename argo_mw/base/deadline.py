"""Deadlines: wall-clock limits that hold whatever the awaited code does.

A deadline arms its timer only once the awaited code suspends: code that never suspends cannot be
interrupted by a timer anyway, and a call that is answered at once should not pay for one
(measured in ``tests/bench/pipeline.py``: about 2 µs a call).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, nullcontext
from types import coroutine
from typing import TypeVar

from argo_mw.base.cancellation import TIME_LIMIT
from argo_mw.base.clock import Clock, Timer
from argo_mw.base.errors import DeadlineExceeded, UpstreamError

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
        # They know the task, which keeps the error that it ends in, and with it this frame.
        del alarm, timer


def limited_wait(
    clock: Clock, seconds: float | None
) -> AbstractAsyncContextManager[Callable[[], object]]:
    """Limit the block to *seconds*, until it calls the function that it is given.

    For a client with timeouts of its own, which apply once its request is under way.

    Args:
        clock: Measures the time.
        seconds: The limit in seconds; ``None`` for no limit.

    Raises:
        DeadlineExceeded: The time is up; the block was cancelled and has ended.
    """
    return _UNLIMITED if seconds is None else _LimitedWait(clock, seconds)


def error_for_client(failure: UpstreamError) -> Exception:
    """Return the error that a client expects in place of *failure*, the chain's.

    That is what the client itself raised, or a timeout where a deadline has ended its request.
    """
    if isinstance(failure.__cause__, TimeLimitExceeded):
        return DeadlineExceeded(str(failure))
    return failure if failure.raised is None else failure.raised


class _Alarm:
    """A timer that cancels the current task, and knows whether it has."""

    __slots__ = ("_already", "_message", "_rang", "_task")

    def __init__(self, message: str | None = TIME_LIMIT) -> None:
        task = asyncio.current_task()
        assert task is not None, "a deadline needs a running task"
        self._task = task
        self._already = task.cancelling()
        self._message = message
        self._rang = False

    def ring(self) -> None:
        self._rang = True
        self._task.cancel(self._message)

    def answered(self) -> None:
        """Take the cancellation back, because the awaited code ended in another way."""
        if self._rang:
            self._task.uncancel()

    def was_the_only_cause(self) -> bool:
        return self._rang and self._task.uncancel() <= self._already


class _LimitedWait:
    """The context manager of :func:`limited_wait`; once it is left, it refers to no task."""

    # A class, because a generator would cost each request of an SDK as much as making its key.
    __slots__ = ("_alarm", "_clock", "_seconds", "_timer")

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._alarm: _Alarm | None = None
        self._timer: Timer | None = None

    async def __aenter__(self) -> Callable[[], object]:
        # Without the message of a deadline: to the layers it looks as if the caller had left.
        self._alarm = _Alarm(None)
        when = self._clock.monotonic() + self._seconds
        self._timer = self._clock.call_at(when, self._ring)
        return self._stop

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        self._stop()
        alarm, self._alarm = self._alarm, None
        assert alarm is not None, "left before it was entered"
        if not isinstance(error, asyncio.CancelledError):
            alarm.answered()
        elif alarm.was_the_only_cause():
            msg = f"no answer within {self._seconds:g} s, the client's timeout"
            raise DeadlineExceeded(msg) from None

    def _ring(self) -> None:
        if self._alarm is not None:
            self._alarm.ring()

    def _stop(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


_UNLIMITED: AbstractAsyncContextManager[Callable[[], object]] = nullcontext(lambda: None)
