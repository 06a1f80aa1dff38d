"""The threads that work on the SQLite file, and what happens when it cannot be used.

A command that takes too long, or fails because the file cannot be used, takes the store away: all
commands that wait fail, and so does every later one at once, until a probe in the background has
written and read. As long as only writes fail, reads go on. A thread cannot be interrupted, so
commands that it has not begun are withdrawn, and what the others are granted is given back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, TypeVar

from argo_mw.base.clock import Clock
from argo_mw.base.errors import Closed, SharedUnavailable
from argo_mw.base.log import Log
from argo_mw.base.loop_stalls import StallAwareLimit
from argo_mw.store.affinity import LoopAffinity
from argo_mw.store.availability import Availability
from argo_mw.store.give_backs import claim
from argo_mw.store.sqlite_store import SqliteStore
from argo_mw.store.sqlite_worker import Batch, Command, Result, Worker, to_be_done, unavailable

T = TypeVar("T")

_MAX_WAITING: Final = 100_000
_RETRY_SECONDS: Final = 0.25
_CLOSE_SECONDS: Final = 10.0

log = Log("argo_mw")


class SqliteThreads:
    """One thread that reads and one that writes, each with a connection of its own.

    Args:
        reader: The connection to read with, which may not be open yet.
        writer: The connection to write with.
        clock: Dates commands, and paces the attempts to use the file again.
        timeout: Seconds that a command may take. They pass in the loop's own time, as in the
            threads, whatever *clock* says.
        on_written: Called in the writing thread after each transaction.
        on_poll: Called in the reading thread whenever it is idle; see :class:`Worker`.

    Attributes:
        availability: Whether the file can be used.
        closed: Whether nothing can be asked any more.
    """

    def __init__(
        self,
        reader: SqliteStore,
        writer: SqliteStore,
        clock: Clock,
        *,
        timeout: float,
        on_written: Callable[[], None],
        on_poll: Callable[[SqliteStore], float | None],
    ) -> None:
        self.closed = False
        self._loop = asyncio.get_running_loop()
        self._affinity = LoopAffinity()
        self._clock = clock
        self._timeout = timeout
        self._started = clock.time() - clock.monotonic()
        self._waiting = 0
        self._outbox: dict[Worker, list[Command]] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._away: set[Worker] = set()
        self.availability = Availability(
            clock,
            probe=self._probe,
            retry=_RETRY_SECONDS,
            on_back=self._away.clear,
            name="argo-mw:sqlite-probe",
        )
        self.reader = Worker(reader, "argo-mw-sqlite-read", writes=False, on_poll=on_poll)
        self.writer = Worker(writer, "argo-mw-sqlite-write", writes=True, on_done=on_written)
        self._unanswered: dict[Worker, deque[Batch]] = {}
        for worker in (self.writer, self.reader):
            self._unanswered[worker] = deque()
            worker.start(partial(self.soon, self._answered, worker))

    async def run(
        self,
        worker: Worker,
        run: Callable[[SqliteStore], T],
        late: Callable[[T], None] | None = None,
        *,
        must: bool = False,
        look: Callable[[SqliteStore], T | None] | None = None,
    ) -> T:
        """Let *worker* run a command, together with the others of this turn of the loop.

        If it has not taken those of an earlier turn yet, the command joins them.

        Args:
            worker: The reader or the writer.
            run: The command.
            late: Receives the result if the caller has left; for what is granted.
            must: Whether it is carried out although its caller has left.
            look: Reads what may be the result already; see :class:`Command`.

        Raises:
            SharedUnavailable: The file cannot be used now.
            Closed: This was closed, or is another event loop or process.
        """
        self._affinity.check()
        if self.closed:
            msg = "the shared store was closed; open another one"
            raise Closed(msg)
        if worker in self._away:
            why = self.availability.why or ""
            await asyncio.sleep(0)  # a caller that tries again and again must let the probe run
            raise unavailable(why)
        if self._waiting >= _MAX_WAITING:
            msg = f"the shared store is too slow: {self._waiting} commands wait for it already"
            raise SharedUnavailable(msg)
        done = self._ask(worker, run, late, must=must, look=look)
        self._waiting += 1
        try:
            return await (done if late is None else claim(done, late))
        finally:
            self._waiting -= 1

    def idle(self, worker: Worker) -> bool:
        """Return whether *worker* would begin at once with what it is asked."""
        unanswered = self._unanswered[worker]
        return not (unanswered and unanswered[0].taken) and worker not in self._away

    def soon(self, code: Callable[..., None], *arguments: object) -> None:
        """Run *code* on the event loop; called in a thread."""
        try:
            self._loop.call_soon_threadsafe(code, *arguments)
        except RuntimeError:
            log.debug("the event loop was closed before the shared store")

    async def aclose(self) -> None:
        """Run what was asked, close the connections and end the threads."""
        self._affinity.check()
        self._send()
        self.closed = True
        for worker in (self.writer, self.reader):
            if not await worker.stop(_CLOSE_SECONDS):
                log.warning("the shared store's file does not answer, and is left open")
        if self._alarm is not None:
            self._alarm.cancel()

    def _ask(
        self,
        worker: Worker,
        run: Callable[[SqliteStore], T],
        late: Callable[[T], None] | None = None,
        *,
        must: bool = False,
        look: Callable[[SqliteStore], T | None] | None = None,
    ) -> asyncio.Future[T]:
        done: asyncio.Future[T] = self._loop.create_future()
        # A wall clock that jumps ahead for a while must not take away what counts until then.
        now = min(self._clock.time(), self._started + self._clock.monotonic())
        command = Command(run, done, now, late, must, look)  # type: ignore[arg-type]
        unanswered = self._unanswered[worker]
        if not unanswered or not worker.add(command, unanswered[-1]):
            if not self._outbox:
                self._loop.call_soon(self._send)
            self._outbox.setdefault(worker, []).append(command)
        return done

    def _send(self) -> None:
        outbox, self._outbox = self._outbox, {}
        if not outbox:
            return
        due = self._loop.time() + self._timeout
        for worker, commands in outbox.items():
            batch = Batch(commands, due)
            self._unanswered[worker].append(batch)
            worker.send(batch)
        if self._alarm is None:
            self._set_alarm()

    def _answered(
        self, worker: Worker, batches: int, results: Sequence[Result], failure: str | None
    ) -> None:
        for _ in range(batches):
            self._unanswered[worker].popleft()
        for command, result, error in results:
            if command.done.done():  # its caller has left, or has waited for too long
                if error is None and command.late is not None:
                    command.late(result)
            elif error is None:
                command.done.set_result(result)
            else:
                command.done.set_exception(error)
        if failure is not None:
            self._lost(worker, failure)

    # -- the file cannot be used, and can again ------------------------------------------

    def _set_alarm(self) -> None:
        waiting = self._oldest()
        if self._alarm is None and waiting is not None:
            self._alarm = self._loop.call_at(waiting[1].due, self._check_overdue)

    def _check_overdue(self) -> None:
        """Take the store away if a command takes longer than it may."""
        self._alarm = None
        waiting = self._oldest()
        now = self._loop.time()
        if waiting is not None and now >= waiting[1].due:
            worker, batch = waiting
            limit = StallAwareLimit(batch.due - self._timeout, batch.due)
            if not batch.extended and limit.restart_if_stalled(now):
                batch.due, batch.extended = limit.due, True
            else:
                why = f"it has not answered for {self._timeout:g} s; its disk is slow, or another"
                self._lost(worker, f"{why} program holds it")
        self._set_alarm()

    def _oldest(self) -> tuple[Worker, Batch] | None:
        """Return the commands that have waited longest, and for which thread."""
        waiting = [
            (worker, batch)
            for worker, batches in self._unanswered.items()
            for batch in batches
            if not batch.withdrawn
        ]
        return min(waiting, key=lambda one: one[1].due, default=None)

    def _lost(self, worker: Worker, why: str) -> None:
        """Fail all commands that wait for *worker*, and those to come until it can go on.

        What cannot be read is not written either.
        """
        lost = {self.writer, worker}
        self._away |= lost
        self.availability.lost(why)
        for one in lost:
            given_up = self._outbox.get(one, [])
            given_up[:], unsent = to_be_done(given_up), [*given_up]
            _fail(unsent, why)
            for batch in self._unanswered[one]:
                if not batch.withdrawn:
                    _fail(one.withdraw(batch), why, uncertain=batch.begun)

    async def _probe(self) -> bool:
        try:
            await self._ask(self.writer, SqliteStore.touch)
            await self._ask(self.reader, SqliteStore.newest_message)
        except SharedUnavailable:
            return False
        return True


def _fail(commands: Iterable[Command], why: str, *, uncertain: bool = False) -> None:
    for command in commands:
        if not command.done.done():
            command.done.set_exception(unavailable(why, uncertain=uncertain))
