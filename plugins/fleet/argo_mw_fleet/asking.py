"""The caller's side of a round: subjects are placed, asked about, and placed anew when need be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, Self
from uuid import uuid4

from attrs import frozen

from argo_mw import Options
from argo_mw.plugin import ArgoError, Codecs, NotEncodable, Outcome
from argo_mw.store import Undecodable
from argo_mw_fleet.engine import Engine
from argo_mw_fleet.error_fields import error_from
from argo_mw_fleet.errors import FleetError, FleetUnavailable, WorkerLost
from argo_mw_fleet.messages import (
    Answered,
    Begin,
    More,
    Reply,
    Request,
    Stop,
    place_of,
    read_reply,
    write_request,
)
from argo_mw_fleet.placement import place

PLACES: Final = 3
"""Workers that are lost over a subject, one after the other, before it counts as the cause."""

_LAST: Final = 5.0
"""Seconds that a worker has to hear that a caller has left."""


@frozen
class Question:
    """What is asked about every subject.

    Attributes:
        operation: The operation's name.
        parameters: Its parameters beside the subject.
        options: What :meth:`argo_mw.Caller.options` takes, one after the other.
    """

    operation: str
    parameters: Mapping[str, object]
    options: tuple[Options, ...]

    def check(self, codecs: Codecs) -> None:
        """Raise NotEncodable where it cannot be sent."""
        codecs.encode((self.parameters, self.options))


class Answers:
    """The answers to one question, as they come: pairs of a subject and its answer or error.

    Attributes:
        total: How many there will be.
        done: How many were taken: with *total*, how far it is.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self._came: asyncio.Queue[tuple[str, Outcome | Exception] | BaseException | None] = (
            asyncio.Queue()
        )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[str, Outcome | Exception]:
        came = await self._came.get()
        match came:
            case tuple():
                self.done += 1
                return came
            case None:
                self._came.put_nowait(None)  # for a loop that asks once more
                raise StopAsyncIteration
            case _:
                raise came

    def add(self, subject: str, answer: Outcome | Exception) -> None:
        """Hand over the *answer* to *subject*."""
        self._came.put_nowait((subject, answer))

    def end(self, error: BaseException | None = None) -> None:
        """Say that there are no more answers, or that *error* ended it."""
        if error is not None:
            self._came.put_nowait(error)
        self._came.put_nowait(None)


class Asking:
    """Asks one question about many subjects, each at its worker."""

    def __init__(
        self, engine: Engine, codecs: Codecs, question: Question, answers: Answers
    ) -> None:
        self._engine = engine
        self._codecs = codecs
        self._question = question
        self._answers = answers

    async def run(self, subjects: Sequence[str]) -> None:
        """Ask about *subjects*, and hand over every answer; never raises but when cancelled."""
        try:
            await self._ask(tuple(one for one in subjects if self._can_be_sent(one)), ())
        except BaseExceptionGroup as group:
            self._answers.end(_first(group))
        except Exception as error:
            self._answers.end(error)
        else:
            self._answers.end()

    def _can_be_sent(self, subject: str) -> bool:
        """Return whether *subject* can be sent, and make what prevents it its answer."""
        try:
            if not subject.isascii():
                self._codecs.encode(subject)
        except NotEncodable as error:
            self._answers.add(subject, error)
            return False
        return True

    async def _ask(self, subjects: tuple[str, ...], lost: tuple[str, ...]) -> None:
        """Ask about *subjects*, at workers beside those that were *lost* over them."""
        workers = frozenset(await self._engine.workers())
        if not workers:
            msg = "the fleet has no workers; start some with `argo-mw fleet worker`"
            raise FleetUnavailable(msg)
        others = workers.difference(lost) or workers
        async with asyncio.TaskGroup() as group:
            for worker, share in place(subjects, tuple(sorted(others))).items():
                if share:
                    code = self._ask_at(worker, share, lost)
                    group.create_task(code, name=f"argo-mw:fleet:{worker}")

    async def _ask_at(self, worker: str, subjects: tuple[str, ...], lost: tuple[str, ...]) -> None:
        """Ask *worker* about *subjects*, and others about those that it leaves open."""
        open_ones = dict.fromkeys(subjects)
        try:
            await self._one_round(worker, open_ones)
        except WorkerLost as error:
            lost = (*lost, worker)
            if len(lost) < PLACES:
                await self._ask(tuple(open_ones), lost)
                return
            for subject in open_ones:
                msg = f"{PLACES} workers were lost while they were asked about {subject}: {error}"
                self._answers.add(subject, WorkerLost(msg))

    async def _one_round(self, worker: str, open_ones: dict[str, None]) -> None:
        name = uuid4().hex
        asked = self._question
        request: Request = Begin(
            name, asked.operation, tuple(open_ones), asked.parameters, asked.options
        )
        arrived = 0
        is_over = False
        try:
            while not is_over:
                reply = await self._send(worker, request)
                if reply.state == "unknown":
                    is_over = True
                    msg = f"worker {worker} was started anew"
                    raise WorkerLost(msg)
                if reply.state == "refused":
                    is_over = True
                    msg = f"worker {worker} refuses: {reply.why}"
                    raise FleetError(msg)
                for one in reply.answers:
                    if one.subject in open_ones:
                        del open_ones[one.subject]
                        self._answers.add(one.subject, await self._read(name, one))
                arrived += len(reply.answers)
                is_over = reply.state == "done"
                request = More(name, arrived)
        except WorkerLost:
            is_over = True
            raise
        finally:
            if not is_over:
                await self._leave(worker, name)
        if open_ones:
            msg = f"worker {worker} ended the round before all was answered"
            raise WorkerLost(msg)

    async def _send(self, worker: str, request: Request) -> Reply:
        data = write_request(self._codecs, request)
        return read_reply(self._codecs, await self._engine.run(worker, data))

    async def _leave(self, worker: str, name: str) -> None:
        """Let *worker* end what was begun, also when this is being cancelled.

        A worker that the message does not reach ends the round by itself once nobody asks for more.
        """
        leaving = asyncio.create_task(self._say_stop(worker, name), name="argo-mw:fleet:leaving")
        cancelled = False
        while not leaving.done():
            try:
                await asyncio.shield(leaving)
            except asyncio.CancelledError:
                cancelled = True
        if cancelled:
            raise asyncio.CancelledError

    async def _say_stop(self, worker: str, name: str) -> None:
        try:
            async with asyncio.timeout(_LAST):
                await self._send(worker, Stop(name))
        except (ArgoError, TimeoutError):
            pass

    async def _read(self, name: str, one: Answered) -> Outcome | Exception:
        if one.outcome is None:
            return error_from(one.error)
        read = await self._codecs.decode_off_loop(one.outcome, place_of(name, one.subject))
        match read:
            case Outcome():
                return read
            case Undecodable():
                msg = f"the answer about {one.subject} cannot be read: {read.reason.value}"
                return FleetError(f"{msg} {read.detail}")
            case _:
                return FleetError(f"the answer about {one.subject} is not an outcome")


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
