"""The blocking facade: the same application for scripts and notebooks without a loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import CancelledError
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from argo_mw.app.application import Argo
from argo_mw.base.errors import ArgoError, Closed
from argo_mw.config import Settings
from argo_mw.model.outcome import Outcome

T = TypeVar("T")


class BlockingArgo:
    """An :class:`~argo_mw.Argo` on a loop thread of its own; every method waits for its answer.

    Use it in a ``with`` statement. Threads may share it.
    """

    def __init__(
        self,
        config: str | Path | Mapping[str, object] | Settings | None = None,
        *,
        plugins: Mapping[str, object] | None = None,
        installed: bool = True,
    ) -> None:
        self._argo = Argo.open(config, plugins=plugins, installed=installed)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start the loop thread and open the application on it."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="argo-mw:blocking", daemon=True
        )
        self._thread.start()
        try:
            self._run(self._argo.__aenter__())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the application and end the thread."""
        try:
            self._run(self._argo.aclose())
        finally:
            self._stop()

    def call(self, operation: str, /, **parameters: object) -> object:
        """See :meth:`argo_mw.Argo.call`."""
        return self._run(self._argo.call(operation, **parameters))

    def outcome(self, operation: str, /, **parameters: object) -> Outcome:
        """See :meth:`argo_mw.Argo.outcome`."""
        return self._run(self._argo.outcome(operation, **parameters))

    def map(
        self, operation: str, subjects: Iterable[str], /, **parameters: object
    ) -> dict[str, Outcome | Exception]:
        """See :meth:`argo_mw.Argo.map`."""
        return self._run(self._argo.map(operation, subjects, **parameters))

    def invalidate(self, *tags: str) -> bool:
        """See :meth:`argo_mw.Argo.invalidate`."""
        return self._run(self._argo.invalidate(*tags))

    def run(self, code: Callable[[Argo], Coroutine[object, object, T]]) -> T:
        """Await what *code* makes of the application, on its loop.

        For what has no method of its own here: streams, options, clients of an SDK.
        """
        return self._run(code(self._argo))

    def _run(self, code: Coroutine[object, object, T]) -> T:
        loop = self._loop
        # A process that was forked off has no such thread.
        if loop is None or self._thread is None or not self._thread.is_alive():
            code.close()
            msg = "the application is not open; use it inside `with BlockingArgo(...)`"
            raise Closed(msg)
        if threading.current_thread() is self._thread:
            code.close()
            msg = "a blocking call on its own loop thread would wait for itself; await Argo there"
            raise ArgoError(msg)
        future = asyncio.run_coroutine_threadsafe(code, loop)
        try:
            return future.result()
        except CancelledError:
            msg = "the application was closed while it was asked"
            raise Closed(msg) from None
        except BaseException:
            future.cancel()
            raise

    def _stop(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is None or thread is None or not thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(_end_others(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end_others() -> None:
    """End what is under way on this loop: threads that wait for it would wait for ever."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
