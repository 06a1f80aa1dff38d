"""The blocking facade: the same application for scripts and notebooks without a loop."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Protocol, Self, TypeVar, Unpack, overload

from argo_mw.app.application import Argo
from argo_mw.app.caller import Caller, Options
from argo_mw.app.declaring import Wrapping
from argo_mw.app.explain import Explained
from argo_mw.base.errors import ArgoError, Closed
from argo_mw.config import Settings
from argo_mw.model.operation import (
    AnyOperation,
    Asked,
    Operation,
    name_of,
    named_parameters,
)
from argo_mw.model.outcome import Outcome
from argo_mw.registry import BrokenPlugin

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Run(Protocol):
    """Awaits a coroutine on the application's loop, for another thread."""

    def __call__(self, code: Coroutine[object, object, T], /) -> T: ...


class BlockingCaller:
    """A :class:`~argo_mw.Caller` whose methods wait for their answers; threads may share it."""

    # Set by BlockingArgo and options(): a constructor would show callers the loop.
    _caller: Caller
    _run: Run

    @overload
    def call(
        self, operation: Operation[P, R], /, *arguments: P.args, **parameters: P.kwargs
    ) -> R: ...
    @overload
    def call(self, operation: str, /, **parameters: object) -> object: ...
    def call(self, operation: Asked, /, *arguments: object, **parameters: object) -> object:
        """See :meth:`argo_mw.Argo.call`."""
        if arguments:
            parameters = dict(named_parameters(operation, arguments, parameters))
        return self._run(self._caller.call(name_of(operation), **parameters))

    @overload
    def outcome(
        self, operation: Operation[P, R], /, *arguments: P.args, **parameters: P.kwargs
    ) -> Outcome: ...
    @overload
    def outcome(self, operation: str, /, **parameters: object) -> Outcome: ...
    def outcome(self, operation: Asked, /, *arguments: object, **parameters: object) -> Outcome:
        """See :meth:`argo_mw.Argo.outcome`."""
        if arguments:
            parameters = dict(named_parameters(operation, arguments, parameters))
        return self._run(self._caller.outcome(name_of(operation), **parameters))

    def map(
        self, operation: str | AnyOperation, subjects: Iterable[str], /, **parameters: object
    ) -> dict[str, Outcome | Exception]:
        """See :meth:`argo_mw.Argo.map`."""
        return self._run(self._caller.map(operation, subjects, **parameters))

    def options(self, **options: Unpack[Options]) -> BlockingCaller:
        """See :meth:`argo_mw.Argo.options`."""
        other = BlockingCaller()
        other._caller = self._caller.options(**options)
        other._run = self._run
        return other


class BlockingArgo(BlockingCaller):
    """An :class:`~argo_mw.Argo` on a loop thread of its own; every method waits for its answer.

    Use it in a ``with`` statement, or :meth:`open` it and :meth:`close` it later, as a notebook
    does. Threads may share it.
    """

    def __init__(
        self,
        config: str | Path | Mapping[str, object] | Settings | None = None,
        *,
        plugins: Mapping[str, object] | None = None,
        installed: bool = True,
    ) -> None:
        self._argo = self._caller = Argo.open(config, plugins=plugins, installed=installed)
        self._run = self._wait_for
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @classmethod
    def open(
        cls,
        config: str | Path | Mapping[str, object] | Settings | None = None,
        *,
        plugins: Mapping[str, object] | None = None,
        installed: bool = True,
    ) -> Self:
        """Return an application that is open, until :meth:`close` or the end of the program.

        Args:
            config: As for :meth:`argo_mw.Argo.open`.
            plugins: Further plugins, by name, beside the installed ones.
            installed: Whether installed plugins are used.

        Raises:
            ConfigError: The configuration cannot be used.
            PluginError: A plugin is broken, in strict mode.
        """
        argo = cls(config, plugins=plugins, installed=installed).__enter__()
        atexit.register(argo.close)
        return argo

    def close(self) -> None:
        """Close the application and end the thread. Idempotent."""
        atexit.unregister(self.close)
        if self._thread is not None and self._thread.is_alive():  # not in a process forked off
            self.__exit__(None, None, None)

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

    def wrap(
        self, **declared: Unpack[Wrapping]
    ) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, R]]:
        """Put an async function behind the chain, as *declared*; the result waits for its answers.

        See :meth:`argo_mw.Argo.wrap`.
        """

        def decorate(function: Callable[P, Awaitable[R]]) -> Callable[P, R]:
            async def put() -> Callable[P, Awaitable[R]]:
                return self._argo.wrap(**declared)(function)

            # On the loop, where the chain is built anew while the application is open.
            is_open = self._thread is not None
            asked = self._run(put()) if is_open else self._argo.wrap(**declared)(function)

            @wraps(function)
            def call(*args: P.args, **kwargs: P.kwargs) -> R:
                async def answer() -> R:
                    return await asked(*args, **kwargs)

                return self._run(answer())

            return call

        return decorate

    def invalidate(self, *tags: str) -> bool:
        """See :meth:`argo_mw.Argo.invalidate`."""
        return self._run(self._argo.invalidate(*tags))

    def expire(self, *tags: str) -> bool:
        """See :meth:`argo_mw.Argo.expire`."""
        return self._run(self._argo.expire(*tags))

    def explain(self, operation: str, /, **parameters: object) -> list[Explained]:
        """See :meth:`argo_mw.Argo.explain`."""

        async def explained() -> list[Explained]:
            return self._argo.explain(operation, **parameters)

        return self._run(explained())

    def dry_run(self, operation: str, /, **parameters: object) -> list[Explained]:
        """See :meth:`argo_mw.Argo.dry_run`."""
        return self._run(self._argo.dry_run(operation, **parameters))

    def reload(self, config: str | Path | Mapping[str, object] | Settings | None = None) -> None:
        """See :meth:`argo_mw.Argo.reload`."""
        self._run(self._argo.reload(config))

    def roll_back(self, flag: str, why: str, *, fleet: bool = False) -> None:
        """See :meth:`argo_mw.Argo.roll_back`."""
        self._run(self._argo.roll_back(flag, why, fleet=fleet))

    @property
    def settings(self) -> Settings:
        """See :attr:`argo_mw.Argo.settings`."""
        return self._argo.settings

    @property
    def broken(self) -> Sequence[BrokenPlugin]:
        """See :attr:`argo_mw.Argo.broken`."""
        return self._argo.broken

    def run(self, code: Callable[[Argo], Coroutine[object, object, T]]) -> T:
        """Run *code* with the application on its loop, and return the result.

        Use it for what has no method here, such as streams and clients of an SDK.
        """
        return self._run(code(self._argo))

    def _wait_for(self, code: Coroutine[object, object, T]) -> T:
        loop = self._loop
        # A process that was forked off has no such thread.
        if loop is None or self._thread is None or not self._thread.is_alive():
            code.close()
            msg = (
                "the application is not open; use it inside `with BlockingArgo(...)`, or open() it"
            )
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
    """Cancel what is under way on this loop, so that no thread waits for it for ever."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
