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
from argo_mw.store.sqlite_file import is_damage
from argo_mw.store.sqlite_store import SqliteStore

_MAX_BATCH: Final = 1_000
_FILE_CHECK_SECONDS: Final = 1.0

log = Log("argo_mw")


@define(eq=False)
class Command:
    """A function to run on the connection.

    Attributes:
        run: The function.
        done: Receives the result, on the event loop.
        now: Wall time at which the command was given.
        late: Receives the result, on the event loop, if the caller has left; for what is granted.
    """

    run: Callable[[SqliteStore], object]
    done: asyncio.Future[object]
    now: float
    late: Callable[[object], None] | None = None


Result = tuple[Command, object, BaseException | None]


class Worker:
    """A thread with a connection of its own.

    Args:
        store: The connection; no other thread may use it.
        loop: Where results are handed over.
        name: The thread's name.
        writes: Whether each batch of commands is one writing transaction.
        on_done: Called in the thread after each batch.
        on_poll: Called in the thread whenever it is idle, with the connection; returns the
            seconds until its next call, ``None`` for after the next command.
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
        self._poll_after: float | None = None
        self._on_poll = on_poll
        self._inbox: queue.SimpleQueue[list[Command] | None] = queue.SimpleQueue()
        self._checked_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def send(self, commands: list[Command]) -> None:
        """Run *commands* soon; an empty list only wakes the thread."""
        self._inbox.put(commands)

    async def stop(self) -> None:
        """Run the commands that were sent, close the connection and end the thread."""
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)

    # -- in the thread -------------------------------------------------------------------

    def _run(self) -> None:
        running = True
        while running:
            batch, running = self._next_batch()
            if batch:
                self._hand_over(self._execute(batch))
                if self._on_done is not None:
                    self._on_done()
            if self._on_poll is not None and running:
                self._poll()
        self._store.close()

    def _next_batch(self) -> tuple[list[Command], bool]:
        batch: list[Command] = []
        try:
            more = self._inbox.get(timeout=self._poll_after)
            while more is not None:
                batch += more
                if len(batch) >= _MAX_BATCH:
                    return batch, True
                more = self._inbox.get_nowait()
        except queue.Empty:
            return batch, True
        return batch, False

    def _execute(self, batch: list[Command]) -> list[Result]:
        try:
            self._check_file()
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
        except Exception as error:  # the thread must go on, and every caller get an answer
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
        except ArgoError as error:  # the command is wrong by itself and has written nothing
            return command, None, error

    def _poll(self) -> None:
        assert self._on_poll is not None
        try:
            self._check_file()
            self._poll_after = self._on_poll(self._store)
        except (sqlite3.Error, ArgoError) as error:
            log.debug("shared store could not be polled", error=str(error))

    def _check_file(self) -> None:
        now = time.monotonic()
        if now - self._checked_at >= _FILE_CHECK_SECONDS or not self._store.is_open:
            self._checked_at = now
            if self._store.replaced() or not self._store.is_open:
                self._store.reopen()
                log.warning(
                    "shared store's file was replaced: opened again", path=str(self._store.path)
                )

    def _repair(self, error: sqlite3.DatabaseError) -> None:
        try:
            self._store.repair(error)
        except (sqlite3.Error, ArgoError, OSError) as another:
            log.warning("shared store could not be opened again", error=str(another))

    def _hand_over(self, results: list[Result]) -> None:
        try:
            self._loop.call_soon_threadsafe(_resolve, results)
        except RuntimeError:
            log.debug("the event loop was closed before the shared store")


def _resolve(results: list[Result]) -> None:
    for command, result, error in results:
        if command.done.done():  # its caller was cancelled
            if error is None and command.late is not None:
                command.late(result)
            continue
        if error is None:
            command.done.set_result(result)
        else:
            command.done.set_exception(error)


def _is_full(error: sqlite3.OperationalError) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def _all_failed(batch: list[Command], error: Exception) -> list[Result]:
    # One exception for each, because raising one object many times grows its traceback.
    msg = f"the shared store's file cannot be used now: {error}"
    return [(command, None, SharedUnavailable(msg)) for command in batch]
