"""The worker's side of a round: its application is asked about the subjects.

A round is asked about as a whole, so that one request to a vendor can answer many of its subjects,
and its answers are handed over as they come. It ends with its caller: one that leaves says so, and
one that died stops asking for more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from argo_mw import Caller
from argo_mw.plugin import Argo, BadParameter, Context, NotEncodable, Timer, context_of
from argo_mw_fleet.error_fields import error_fields
from argo_mw_fleet.errors import FleetError
from argo_mw_fleet.messages import (
    Answered,
    Begin,
    More,
    Reply,
    Stop,
    place_of,
    read_request,
    write_reply,
)

WAIT: Final = 1.0
"""Seconds that a request for more waits at most."""
LINGER: Final = 0.05
"""Seconds for which answers are gathered once there is one: handing over takes a millisecond."""
ABANDONED: Final = 15.0
"""Seconds after which a round that is not asked for has lost its caller."""
AT_ONCE: Final = 1000
"""Subjects of a round that are asked about at once, at most."""

_MAX_ROUNDS: Final = 64
_MAX_BYTES: Final = 8 << 20
_MAX_ANSWERS: Final = 1000


class Answering:
    """The rounds that a worker answers.

    Args:
        argo: The worker's application, open.
    """

    def __init__(self, argo: Argo) -> None:
        self._argo = argo
        self._context = context_of(argo)
        self._rounds: dict[str, _Round] = {}

    async def answer(self, data: bytes) -> bytes:
        """Return the encoded reply to the encoded request *data*, whatever that is."""
        try:
            reply = await self._reply(read_request(self._context.codecs, data))
        except FleetError as error:
            reply = Reply("refused", why=str(error))
        return write_reply(self._context.codecs, reply)

    @property
    def rounds(self) -> int:
        """How many rounds there are."""
        return len(self._rounds)

    async def _reply(self, request: Begin | More | Stop) -> Reply:
        found = self._rounds.get(request.round)
        match request:
            case Begin():
                found = found or self._begin(request)
                return await found.hand_over(0)
            case More() if found is not None:
                return await found.hand_over(request.after)
            case Stop() if found is not None:
                await found.end()
        return Reply("unknown")

    def _begin(self, request: Begin) -> _Round:
        if len(self._rounds) >= _MAX_ROUNDS:
            msg = f"the worker answers {_MAX_ROUNDS} rounds already; ask later, or add workers"
            raise FleetError(msg)
        begun = self._rounds[request.round] = _Round(self._argo, self._context, request)
        begun.task.add_done_callback(lambda _: begun.changed.set())
        begun.on_end = lambda: self._rounds.pop(request.round, None)
        return begun


class _Round:
    """One round: what has come, and what has not been taken yet."""

    def __init__(self, argo: Argo, context: Context, request: Begin) -> None:
        self._argo = argo
        self._context = context
        self._request = request
        self._ready: list[Answered] = []
        self._taken = 0
        self._asking = 0
        self._timer: Timer | None = None
        self.changed = asyncio.Event()
        self.on_end: Callable[[], object] = lambda: None
        self.task = context.tasks.spawn("fleet:round", self._ask_all(), of_call=True)

    async def hand_over(self, after: int) -> Reply:
        """Return the answers behind the first *after*, once there are any, or after a while."""
        clock = self._context.clock
        self._asking += 1
        self._listen()
        try:
            self._forget(after)
            timer = clock.call_at(clock.monotonic() + WAIT, self.changed.set)
            try:
                if not self._ready and not self.task.done():
                    self.changed.clear()
                    await self.changed.wait()
            finally:
                timer.cancel()
            if self._ready and not self.task.done():
                await clock.sleep(LINGER)
            return self._reply()
        finally:
            self._asking -= 1
            self._listen()

    async def end(self) -> None:
        """End it, and all that it has asked."""
        if self._timer is not None:
            self._timer.cancel()
        self.on_end()
        self.task.cancel()
        await asyncio.wait([self.task])

    def _reply(self) -> Reply:
        size = 0
        answers: list[Answered] = []
        for one in self._ready[:_MAX_ANSWERS]:
            size += len(one.outcome or b"")
            if answers and size > _MAX_BYTES:
                break
            answers.append(one)
        is_last = self.task.done() and len(answers) == len(self._ready)
        return Reply("done" if is_last else "more", tuple(answers))

    def _forget(self, after: int) -> None:
        """Drop what has arrived."""
        arrived = after - self._taken
        if arrived > 0:
            del self._ready[:arrived]
            self._taken = after

    def _listen(self) -> None:
        """Wait for the caller to ask again, unless it is asking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._asking:
            clock = self._context.clock
            self._timer = clock.call_at(clock.monotonic() + ABANDONED, self._abandon)

    def _abandon(self) -> None:
        self.on_end()
        self.task.cancel()

    async def _ask_all(self) -> None:
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(subject: str) -> None:
            async with slots:
                self._ready.append(await self._ask(subject))
            self.changed.set()

        async with asyncio.TaskGroup() as group:
            for subject in self._request.subjects:
                group.create_task(one(subject), name=f"argo-mw:fleet:{self._request.operation}")

    async def _ask(self, subject: str) -> Answered:
        asked, codecs = self._request, self._context.codecs
        try:
            name = self._context.operation(asked.operation).subject
            if not name:
                msg = f"{asked.operation} has no subject to map over"
                raise BadParameter(msg)
            asker: Caller = self._argo
            for options in asked.options:
                asker = asker.options(**options)
            outcome = await asker.outcome(asked.operation, **{**asked.parameters, name: subject})
            return Answered(subject, codecs.encode(outcome, place_of(asked.round, subject)), None)
        except Exception as error:
            return Answered(subject, None, self._fields(error))

    def _fields(self, error: Exception) -> dict[str, object]:
        fields = error_fields(error)
        try:
            self._context.codecs.encode(fields)
        except NotEncodable:
            return error_fields(FleetError(f"{type(error).__name__}: {error}"))
        return fields
