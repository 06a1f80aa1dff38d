"""Threads that run commands on SQLite connections, many commands per transaction."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Final

from attrs import define

from argo_mw.base.errors import ArgoError, SharedUnavailable
from argo_mw.base.log import Log
from argo_mw.store.sqlite_file import SqliteStore, is_damage

_BATCH: Final = 1_000
_LOOK_AT_FILE: Final = 1.0

log = Log("argo_mw")


@define(eq=False)
class Command:
    """Something to be done on the connection.

    Attributes:
        run: Does it.
        done: Receives the result, on the event loop.
        now: Wall time at which it was asked.
    """

    run: Callable[[SqliteStore], object]
    done: asyncio.Future[object]
    now: float


Result = tuple[Command, object, BaseException | None]


class Worker:
    """A thread with a connection of its own.

    Args:
        store: The connection; nobody else may use it.
        loop: Where results are handed over.
        name: The thread's name.
        writes: Whether commands run in a transaction that is alone.
        on_done: Called in the thread after each batch.
        on_poll: Called in the thread whenever it is idle, with the connection; returns the
            seconds until it wants to be called next, ``None`` for after the next command.
    """

    def __init__(
        self,
        store: SqliteStore,
        loop: asyncio.AbstractEventLoop,
        name: str,
        *,
        writes: bool,
        on_done: Callable[[], None] | None = None,
        on_poll: Callable[[SqliteStore], float | None] | None = None,
    ) -> None:
        self._store = store
        self._loop = loop
        self._writes = writes
        self._on_done = on_done
        self._wait: float | None = None
        self._on_poll = on_poll
        self._inbox: queue.SimpleQueue[list[Command] | None] = queue.SimpleQueue()
        self._looked = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def send(self, commands: list[Command]) -> None:
        """Run *commands* soon; an empty list only wakes the thread."""
        self._inbox.put(commands)

    async def stop(self) -> None:
        """Finish what was sent, close the connection, end the thread."""
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)

    # -- in the thread -------------------------------------------------------------------

    def _run(self) -> None:
        going_on = True
        while going_on:
            batch, going_on = self._next_batch()
            if batch:
                results = self._execute(batch)
                self._hand_over(results)
                if self._on_done is not None:
                    self._on_done()
            if self._on_poll is not None and going_on:
                self._polled()
        self._store.close()

    def _next_batch(self) -> tuple[list[Command], bool]:
        batch: list[Command] = []
        try:
            more = self._inbox.get(timeout=self._wait)
            while more is not None:
                batch += more
                if len(batch) >= _BATCH:
                    return batch, True
                more = self._inbox.get_nowait()
        except queue.Empty:
            return batch, True
        return batch, False

    def _execute(self, batch: list[Command]) -> list[Result]:
        try:
            self._look_at_file()
            try:
                return self._attempt(batch)
            except sqlite3.OperationalError as error:
                if not _is_full(error):
                    raise
                with self._store.writing():
                    self._store.make_room(batch[-1].now)
                return self._attempt(batch)
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                self._repair(error)
            return _all_failed(batch, error)
        except Exception as error:  # the thread must live on, and every caller get an answer
            return _all_failed(batch, error)

    def _attempt(self, batch: list[Command]) -> list[Result]:
        if not self._writes:
            return [self._one(command) for command in batch]
        with self._store.writing():
            results = [self._one(command) for command in batch]
            self._store.sweep(batch[-1].now)
        return results

    def _one(self, command: Command) -> Result:
        try:
            return command, command.run(self._store), None
        except ArgoError as error:  # of this command's own making: nothing was written for it
            return command, None, error

    def _polled(self) -> None:
        assert self._on_poll is not None
        try:
            self._look_at_file()
            self._wait = self._on_poll(self._store)
        except (sqlite3.Error, ArgoError) as error:
            log.debug("shared store could not be polled", error=str(error))

    def _look_at_file(self) -> None:
        now = time.monotonic()
        if now - self._looked >= _LOOK_AT_FILE or not self._store.is_open:
            self._looked = now
            if self._store.replaced() or not self._store.is_open:
                self._store.reopen()
                log.warning("shared store was opened anew", path=str(self._store.path))

    def _repair(self, error: sqlite3.DatabaseError) -> None:
        try:
            self._store.repair(error)
        except (sqlite3.Error, ArgoError, OSError) as another:
            log.warning("shared store could not be opened anew", error=str(another))

    def _hand_over(self, results: list[Result]) -> None:
        try:
            self._loop.call_soon_threadsafe(_resolve, results)
        except RuntimeError:
            log.debug("the event loop was closed before the shared store")


def _resolve(results: list[Result]) -> None:
    for command, result, error in results:
        if command.done.done():
            continue  # its caller has left
        if error is None:
            command.done.set_result(result)
        else:
            command.done.set_exception(error)


def _is_full(error: sqlite3.OperationalError) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def _all_failed(batch: list[Command], error: Exception) -> list[Result]:
    # One exception each: raising one object many times grows its traceback.
    msg = f"the shared store's file cannot be used now: {error}"
    return [(command, None, SharedUnavailable(msg)) for command in batch]
