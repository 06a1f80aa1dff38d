"""Deadlines: wall-clock limits that hold whatever the awaited code does.

A deadline arms its timer only once the awaited code suspends: code that never suspends cannot be
interrupted by a timer anyway, and a call that is answered at once should not pay for one
(measured in ``tests/bench/pipeline.py``: about 2 µs a call).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def limited_wait(clock: Clock, seconds: float | None) -> AsyncIterator[Callable[[], object]]:
    """Limit the block to *seconds*, ``None`` for no limit, until what is yielded is called.

    For a client with timeouts of its own, which hold once its request is under way.

    Args:
        clock: Measures the time.
        seconds: The limit in seconds; ``None`` for no limit.

    Raises:
        DeadlineExceeded: They have passed; the block was cancelled and has ended.
    """
    if seconds is None:
        yield lambda: None
        return
    limit = asyncio.timeout(None)
    try:
        async with limit:
            # What is yielded may be kept, and keeps nothing of what waited, or of its result.
            waiting = [limit]

            def expire() -> None:
                for one in waiting:
                    one.reschedule(0.0)

            timer = clock.call_at(clock.monotonic() + seconds, expire)

            def stop() -> None:
                waiting.clear()
                timer.cancel()

            try:
                yield stop
            finally:
                stop()
    except TimeoutError:
        if not limit.expired():
            raise
        msg = f"no answer within {seconds:g} s, the client's timeout"
        raise DeadlineExceeded(msg) from None


def error_for_client(failure: UpstreamError) -> Exception:
    """Return the error that a client expects in place of *failure*, the chain's.

    That is what the client itself raised, or a timeout where a deadline has ended its request.
    """
    if isinstance(failure.__cause__, TimeLimitExceeded):
        return DeadlineExceeded(str(failure))
    return failure.raised or failure


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
