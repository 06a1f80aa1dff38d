"""Background tasks: owned, named, bounded, and ended at shutdown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import TypeVar

from argo_mw.base.errors import Closed
from argo_mw.base.log import Log

T = TypeVar("T")
log = Log("argo_mw")

_MAX_FINISH = 5.0
"""Seconds that shutdown waits for tasks that must finish."""


_STARTER: ContextVar[str] = ContextVar("argo_mw_starter", default="")


@contextmanager
def started_by(name: str) -> Iterator[None]:
    """Attribute tasks that are spawned inside, directly or by those tasks, to *name*."""
    token = _STARTER.set(name)
    try:
        yield
    finally:
        _STARTER.reset(token)


class Tasks:
    """The owner of tasks that outlive the call that started them."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[object]] = set()
        self._finishing: set[asyncio.Task[object]] = set()
        self._of_calls: set[asyncio.Task[object]] = set()
        self._started_by: dict[asyncio.Task[object], str] = {}
        self._calls_ended = False
        self._closed = False
        self._ended = False

    def __len__(self) -> int:
        return len(self._running) + len(self._finishing)

    @property
    def names(self) -> list[str]:
        """The names of the tasks that run now."""
        return sorted(task.get_name() for task in self._running | self._finishing)

    def spawn(
        self,
        name: str,
        code: Coroutine[object, object, T],
        *,
        context: Context | None = None,
        of_call: bool = False,
        on_end: Callable[[asyncio.Task[T]], None] | None = None,
    ) -> asyncio.Task[T]:
        """Run *code* in a task called *name*; an exception that it raises is logged.

        Part of a call runs in a copy of its caller's context, so that a trace goes on in it. Any
        other task runs in an empty context: it outlives the call that happened to start it, and
        would otherwise keep that call's variables alive and add to its trace.

        Args:
            name: The task's name, behind ``argo-mw:``.
            code: The coroutine.
            context: The context to run in instead.
            of_call: Whether it is part of a call, such as its request. Shutdown ends those first,
                while what their end has to record can still be written.
            on_end: Called with the task once it has ended, in its context; also with one that was
                cancelled before its first step.

        Raises:
            Closed: The owner has been shut down.
        """
        if self._closed or (of_call and self._calls_ended):
            code.close()
            msg = f"cannot start {name!r}: the application is closed"
            raise Closed(msg)
        if context is None:
            context = copy_context() if of_call else _empty_context()
        task = asyncio.get_running_loop().create_task(code, name=f"argo-mw:{name}", context=context)
        self._running.add(task)
        if of_call:
            self._of_calls.add(task)
        elif starter := _STARTER.get():
            self._started_by[task] = starter
        # One callback: each is a turn of the loop's queue.
        ended = self._on_end if on_end is None else partial(self._on_end_then, on_end)
        task.add_done_callback(ended, context=context)
        return task

    def finish(self, name: str, code: Coroutine[object, object, T]) -> asyncio.Future[T | None]:
        """Run *code* in a task called *name* that shutdown does not cancel but waits for.

        For giving back what a departing caller took: no cancellation of the caller reaches it, and
        it may still be started while the owner shuts down. It must end soon by itself.

        Returns:
            The task; to wait for it, shield it. Once the owner has shut down, a future of ``None``,
            and *code* is not run.
        """
        loop = asyncio.get_running_loop()
        if self._ended:
            code.close()
            nothing: asyncio.Future[T | None] = loop.create_future()
            nothing.set_result(None)
            return nothing
        task: asyncio.Task[T | None] = loop.create_task(code, name=f"argo-mw:{name}")
        self._finishing.add(task)
        task.add_done_callback(self._on_end)
        return task

    def _on_end_then(
        self, on_end: Callable[[asyncio.Task[T]], None], task: asyncio.Task[T]
    ) -> None:
        self._on_end(task)
        on_end(task)

    def _on_end(self, task: asyncio.Task[T]) -> None:
        self._running.discard(task)
        self._of_calls.discard(task)
        self._finishing.discard(task)
        self._started_by.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("a background task failed", task=task.get_name(), error=repr(error))

    async def end_calls(self) -> None:
        """Cancel the tasks of calls and wait until all have ended; start none any more."""
        self._calls_ended = True
        await _cancel(self._of_calls)

    async def end_started_by(self, name: str) -> None:
        """Cancel the tasks that *name* has started, and wait until they have ended."""
        while started := {task for task, starter in self._started_by.items() if starter == name}:
            await _cancel(started)  # some may have started others when they began

    async def aclose(self) -> None:
        """Cancel every task and wait until all have ended. Idempotent.

        Tasks that are to finish are waited for, for at most five seconds, and cancelled then.
        """
        self._closed = True
        await _cancel(self._running)
        deadline = time.monotonic() + _MAX_FINISH
        while self._finishing and (left := deadline - time.monotonic()) > 0:
            await asyncio.wait(self._finishing, timeout=left)
        self._ended = True
        await _cancel(self._finishing)


def _empty_context() -> Context:
    """Return a context that holds nothing but which plugin started the task."""
    context = Context()
    starter = _STARTER.get()
    if starter:
        context.run(_STARTER.set, starter)
    return context


async def _cancel(tasks: set[asyncio.Task[object]]) -> None:
    while tasks:
        # One that is cancelled before it has begun runs nothing, not even what notes its end.
        await asyncio.sleep(0)
        running = list(tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        tasks.difference_update(running)
