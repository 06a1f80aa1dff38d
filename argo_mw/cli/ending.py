"""The end of a command by a signal: it first leaves what it has asked, and closes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

T = TypeVar("T")

_ENDING: Final = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""SIGHUP is what a command gets whose terminal is closed."""


def run_to_its_end(main: Coroutine[object, object, T]) -> T:
    """Run *main* as ``asyncio.run`` does, where SIGTERM and SIGHUP cancel it as Ctrl-C does.

    Thus requests under way are recorded with what they have probably cost, and leases are given
    back. Then the signal ends the process. The second one ends it at once.
    """
    ending = _Ending()

    async def run() -> T:
        ending.watch()
        return await main

    try:
        return asyncio.run(run())
    finally:
        ending.end()


@contextmanager
def ending_signals(stop: Callable[[], object]) -> Iterator[None]:
    """Call *stop* at each SIGINT, SIGTERM and SIGHUP, where the running loop can handle signals.

    For commands that end by themselves. A signal that the process ignores stays ignored.
    """
    loop = asyncio.get_running_loop()
    taken = []
    for number in (signal.SIGINT, *_ENDING):
        if signal.getsignal(number) is not signal.SIG_IGN:
            # Loops outside the main thread cannot, nor can some on Windows.
            with suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, stop)
                taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)


class _Ending:
    """Cancels the task that watches when the first signal arrives, and remembers it."""

    def __init__(self) -> None:
        self._arrived: signal.Signals | None = None

    def watch(self) -> None:
        """Handle the signals, on the running loop, that nobody else handles or ignores."""
        task = asyncio.current_task()
        if task is None or threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        for number in _ENDING:
            if signal.getsignal(number) is signal.SIG_DFL:
                with suppress(NotImplementedError):
                    loop.add_signal_handler(number, self._end, number, task, loop)

    def end(self) -> None:
        """End the process by the signal that has arrived, if one has."""
        if self._arrived is None:
            return
        with suppress(OSError, ValueError):  # a terminal that was closed takes nothing more
            sys.stdout.flush()
        signal.signal(self._arrived, signal.SIG_DFL)
        os.kill(os.getpid(), self._arrived)

    def _end(
        self, number: signal.Signals, task: asyncio.Task[object], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._arrived = number
        for one in _ENDING:
            loop.remove_signal_handler(one)
        task.cancel()
