"""Background tasks: owned, named, bounded, and ended at shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import TypeVar

from argo_mw.base.errors import Closed
from argo_mw.base.log import Log

T = TypeVar("T")
log = Log("argo_mw")


class Tasks:
    """The owner of tasks that outlive the call that started them."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[object]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._running)

    @property
    def names(self) -> list[str]:
        """The names of the tasks that run now."""
        return sorted(task.get_name() for task in self._running)

    def spawn(
        self, name: str, code: Coroutine[object, object, T], *, context: Context | None = None
    ) -> asyncio.Task[T]:
        """Run *code* in a task called *name*; an exception that it raises is logged.

        Args:
            name: The task's name, behind ``argo-mw:``.
            code: The coroutine.
            context: The context to run in; by default a copy of the caller's.

        Raises:
            Closed: The owner has been shut down.
        """
        if self._closed:
            code.close()
            msg = f"cannot start {name!r}: the application is closed"
            raise Closed(msg)
        task = asyncio.get_running_loop().create_task(code, name=f"argo-mw:{name}", context=context)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("background task failed", task=task.get_name(), error=repr(error))

    async def aclose(self) -> None:
        """Cancel every task and wait until all have ended. Idempotent."""
        self._closed = True
        while self._running:
            running = list(self._running)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            self._running.difference_update(running)
