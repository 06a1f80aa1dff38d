"""Threads that run commands on SQLite connections, many commands per transaction."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from attrs import define

from argo_mw.base.errors import ArgoError, SharedUnavailable
from argo_mw.base.log import Log
from argo_mw.store.sqlite_file import is_damage
from argo_mw.store.sqlite_store import SqliteStore

_MAX_COMMANDS: Final = 1_000
_FILE_CHECK_SECONDS: Final = 0.01
_PAUSE: Final = 0.25

log = Log("argo_mw")


@define(eq=False)
class Command:
    """A function to run on the connection.

    Attributes:
        run: The function.
        done: Receives the result, on the event loop.
        now: Wall time at which the command was given, without jumps ahead: what expired by then may
            be removed.
        late: Receives the result, on the event loop, if the caller has left; for what is granted.
        must: Whether it is run although its caller has left.
        look: Reads what may be its result already, before the transaction and without a lock; if
            that is ``None``, the command is run.
    """

    run: Callable[[SqliteStore], object]
    done: asyncio.Future[object]
    now: float
    late: Callable[[object], None] | None = None
    must: bool = False
    look: Callable[[SqliteStore], object | None] | None = None


@define(eq=False)
class Batch:
    """Commands of one turn of the event loop.

    Attributes:
        commands: The commands.
        due: When they count as overdue, in seconds of the loop's time.
        extended: Whether that was put off, because the loop was stalled.
        withdrawn: Whether they were given up.
        taken: Whether the thread has taken them; until then, others can be added.
        begun: Whether the thread has begun to run them.
    """

    commands: list[Command]
    due: float
    extended: bool = False
    withdrawn: bool = False
    taken: bool = False
    begun: bool = False


_WAKE: Final = Batch([], 0.0)
_CHECK: Final = Batch([], 0.0)

Result = tuple[Command, object, BaseException | None]
"""A command that was run, with its result or its error."""

OnAnswer = Callable[[int, Sequence[Result], str | None], None]
"""Takes how many batches were answered, the oldest ones, what became of their commands, and why the
file could not be used."""

_Answer = tuple[Sequence[Result], str | None]


class Worker:
    """A thread with a connection of its own.

    Args:
        store: The connection, which may not be open yet; no other thread may use it.
        name: The thread's name.
        writes: Whether each batch of commands is one writing transaction.
        on_done: Called in the thread after each batch.
        on_poll: Called in the thread whenever it is idle, with the connection; returns the
            seconds until its next call, ``None`` for after the next command.
    """

    def __init__(
        self,
        store: SqliteStore,
        name: str,
        *,
        writes: bool,
        on_done: Callable[[], None] | None = None,
        on_poll: Callable[[SqliteStore], float | None] | None = None,
    ) -> None:
        self._store = store
        self._writes = writes
        self._on_done = on_done
        self._on_poll = on_poll
        self._poll_at: float | None = None
        self._woken = False
        self._inbox: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        store.look = partial(self._inbox.put, _CHECK)
        self._checked_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._lock = threading.Lock()
        self._answer: OnAnswer = lambda *_: None

    def start(self, answer: OnAnswer) -> None:
        """Start the thread.

        Args:
            answer: Called in the thread with what became of the batches that were sent, in order.
        """
        self._answer = answer
        self._thread.start()

    def send(self, batch: Batch) -> None:
        """Run the commands of *batch* soon."""
        self._inbox.put(batch)

    def add(self, command: Command, batch: Batch) -> bool:
        """Add *command* to a *batch* that was sent; return false if it is too late for that."""
        with self._lock:
            if batch.taken or batch.withdrawn:
                return False
            batch.commands.append(command)
            return True

    def withdraw(self, batch: Batch) -> Sequence[Command]:
        """Give up the commands of *batch*, unless they have begun, and return all of them."""
        with self._lock:
            batch.withdrawn = True
            given_up = batch.commands
            if not batch.begun:
                batch.commands = to_be_done(given_up)
            return given_up

    def wake(self) -> None:
        """Poll soon."""
        self._inbox.put(_WAKE)

    async def stop(self, timeout: float) -> bool:
        """Run what was sent, close the connection and end the thread.

        Returns:
            False if that takes longer than *timeout*, in seconds: the file hangs.
        """
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join, timeout)
        return not self._thread.is_alive()

    # -- in the thread -------------------------------------------------------------------

    def _run(self) -> None:
        running = True
        while running:
            batches, running = self._next_batches()
            if batches:
                self._answer(len(batches), *self._execute(batches))
                if self._on_done is not None:
                    self._on_done()
            if running and self._must_poll():
                self._poll(looked=bool(batches))
        self._store.close()

    def _next_batches(self) -> tuple[list[Batch], bool]:
        batches: list[Batch] = []
        commands = 0
        try:
            batch = self._inbox.get(timeout=self._until_poll())
            while batch is not None:
                if batch is _CHECK or batch is _WAKE:
                    self._woken = True
                    if batch is _CHECK:
                        self._checked_at = 0.0
                else:
                    batches.append(batch)
                    commands += self._take(batch)
                if commands >= _MAX_COMMANDS:
                    return batches, True
                batch = self._inbox.get_nowait()
        except queue.Empty:
            return batches, True
        return batches, False

    def _take(self, batch: Batch) -> int:
        """Take the commands of *batch*, and return how many they are."""
        with self._lock:
            batch.taken = True
            return len(batch.commands)

    def _execute(self, batches: Sequence[Batch]) -> _Answer:
        if batches[-1].withdrawn and not any(batch.commands for batch in batches):
            return (), None  # no need to wait for the file
        try:
            self._check_file()
            found = self._look(batches)
            if not any(batch.commands for batch in batches):
                return found, None
            if found:  # these wait for no transaction
                self._answer(0, found, None)
            return self._with_room(batches), None
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                self._repair(error)
            elif not isinstance(error, sqlite3.OperationalError):
                return _failed(batches, str(error)), None  # a command is wrong, not the file
            why = self._store.reason(error)
        except (ArgoError, OSError) as error:
            why = str(error)
        except Exception as error:  # the thread must go on, and every caller get an answer
            return _failed(batches, str(error)), None
        return _failed(batches, why), why

    def _look(self, batches: Sequence[Batch]) -> Sequence[Result]:
        """Return what could be answered by reading alone, and take it out of *batches*."""
        looking = [
            (command, command.look)
            for batch in batches
            for command in batch.commands
            if command.look is not None
        ]
        found = {
            command: result
            for command, look in looking
            if (result := look(self._store)) is not None
        }
        if found:
            with self._lock:
                for batch in batches:
                    batch.commands = [one for one in batch.commands if one not in found]
        return [(command, result, None) for command, result in found.items()]

    def _with_room(self, batches: Sequence[Batch]) -> Sequence[Result]:
        try:
            return self._attempt(batches)
        except sqlite3.OperationalError as error:
            if not _is_full(error):
                raise
            with self._store.writing():
                self._store.make_room(_newest(batches))
            return self._attempt(batches)

    def _attempt(self, batches: Sequence[Batch]) -> Sequence[Result]:
        if not self._writes:
            return [self._one(command) for command in self._begin(batches)]
        with self._store.writing():
            results = [self._one(command) for command in self._begin(batches)]
            self._store.sweep(_newest(batches))
        return results

    def _begin(self, batches: Sequence[Batch]) -> list[Command]:
        """Return the commands that were not given up, which cannot be from now on."""
        commands: list[Command] = []
        with self._lock:
            for batch in batches:
                batch.begun = True
                commands += batch.commands
        return commands

    def _one(self, command: Command) -> Result:
        try:
            return command, command.run(self._store), None
        except ArgoError as error:  # the command is wrong by itself and has written nothing
            return command, None, error

    def _until_poll(self) -> float | None:
        return None if self._poll_at is None else max(0.0, self._poll_at - time.monotonic())

    def _must_poll(self) -> bool:
        """Return whether a poll is due: no matter what is asked meanwhile, and how often."""
        return self._woken or self._poll_at is None or time.monotonic() >= self._poll_at

    def _poll(self, *, looked: bool) -> None:
        self._woken = False
        pause: float | None = None
        try:
            if not looked:
                self._check_file()
            if self._on_poll is not None:
                pause = self._on_poll(self._store)
        except (sqlite3.Error, ArgoError, OSError) as error:
            if self._poll_at is not None:
                pause = _PAUSE
            log.debug("the shared store could not be polled", error=str(error))
        self._poll_at = None if pause is None else time.monotonic() + pause

    def _check_file(self) -> None:
        """Work on the files that are at the path now."""
        now = time.monotonic()
        if now - self._checked_at < _FILE_CHECK_SECONDS and self._store.is_open:
            return
        self._checked_at = now
        if not self._store.is_open:
            self._store.reopen()
        elif self._store.replaced():
            self._store.reopen()
            log.warning(
                "the shared store's file was replaced: opened again", path=str(self._store.path)
            )

    def _repair(self, error: sqlite3.DatabaseError) -> None:
        try:
            self._store.repair(error)
        except (sqlite3.Error, ArgoError, OSError) as another:
            log.warning("the shared store could not be opened again", error=str(another))


def to_be_done(given_up: Iterable[Command]) -> list[Command]:
    """Return those of *given_up* that run all the same, since their callers do not repeat them."""
    return [command for command in given_up if command.must and command.done.cancelled()]


def _failed(batches: Sequence[Batch], why: str) -> Sequence[Result]:
    # One exception for each, because raising one object many times grows its traceback.
    commands = (command for batch in batches for command in batch.commands)
    return [(command, None, unavailable(why)) for command in commands]


def unavailable(why: str, *, uncertain: bool = False) -> SharedUnavailable:
    """Return the error of a command that was not run, or that may be if that is *uncertain*."""
    msg = f"the shared store's file cannot be used now: {why}"
    return SharedUnavailable(msg, uncertain=uncertain)


def _newest(batches: Sequence[Batch]) -> float:
    """Return the wall time at which the last command of *batches* was given."""
    given = (command.now for batch in batches for command in batch.commands[-1:])
    return max(given, default=0.0)


def _is_full(error: sqlite3.OperationalError) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
