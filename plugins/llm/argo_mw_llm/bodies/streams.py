"""Streams of a model's answer, with its usage at their end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar, cast

from attrs import define, evolve, field

from argo_mw.plugin import NotEncodable, Stream, StreamAborted, Tasks
from argo_mw_llm.answers import Usage

C = TypeVar("C")

_CLOSING = 1.0
"""The most seconds for which a reader waits for its connection to be closed."""


@define
class Ending:
    """What a stream's source knows about the answer so far.

    Attributes:
        model: The model.
        stop: Why the answer ended, or "" before it has.
        usage: The tokens it took, or ``None`` while they are unknown.
        miscounted: Whether the provider sent impossible counts.
        heard: Characters received so far, for an estimate when no count comes.
        headers: Headers of the answer, for clients of the provider's SDK.
        ended: Whether the last event of the answer has come, before the connection has ended.
        parts: The text received so far.
        cut: Whether the connection ended in the middle of an event.
    """

    model: str
    stop: str = ""
    usage: Usage | None = None
    heard: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    parts: list[str] = field(factory=list)
    miscounted: bool = False
    ended: bool = False
    cut: bool = False


class Demand:
    """How many pieces the readers of a stream have asked for.

    Attributes:
        readers: The number of current readers, of all handles.
        held: The number of clients that have the stream, whether they read or not.
    """

    def __init__(self) -> None:
        self.readers = 0
        self.held = 0
        self._wanted = 0
        self._all = False
        self._source: asyncio.Future[None] | None = None

    def want(self, pieces: int | None) -> None:
        """Ask for so many *pieces*, or for all of them."""
        if pieces is None:
            self._all = True
        elif pieces > self._wanted:
            self._wanted = pieces
        else:
            return
        if self._source is not None and not self._source.done():
            self._source.set_result(None)

    async def until(self, pieces: int) -> None:
        """Wait until a reader has asked for so many *pieces*; only the source calls it."""
        while self._wanted < pieces and not self._all:
            self._source = asyncio.get_running_loop().create_future()
            await self._source


class OnDemand(Protocol):
    """A source that is read only as far as readers ask for."""

    error: Exception | None
    closed: asyncio.Event

    def end(self) -> None:
        """End an answer whose last event has come."""


class AnswerStream(Stream[C]):
    """A model's answer in pieces, complete only if the model ended it by itself.

    Args:
        source: The source of the pieces.
        tasks: The owner of the task that reads it.
        ending: What is known about the answer.
        name: Its name in messages.
        demand: How many pieces the readers have asked for, so that the source reads no further;
            without it, the source reads ahead.

    Attributes:
        limits: Headers about the provider's rate limits.
    """

    limits: tuple[tuple[str, str], ...] = ()

    def __init__(
        self,
        source: AsyncIterator[C],
        tasks: Tasks,
        ending: Ending | None = None,
        *,
        name: str = "answer",
        demand: Demand | None = None,
    ) -> None:
        if demand is None:
            super().__init__(source, tasks, name=name)
        else:  # limited by bytes, however many pieces they come in
            super().__init__(source, tasks, name=name, max_chunks=sys.maxsize)
        self._ending = ending or Ending("")
        self._tasks = tasks
        self._demand = demand
        self._source = source

    @property
    def ending(self) -> Ending:
        """What is known about the answer: a copy for each caller."""
        return evolve(self._ending, parts=list(self._ending.parts))

    def is_the_same(self, other: object) -> bool:
        """Return whether *other* is a handle of this stream."""
        return isinstance(other, AnswerStream) and other._ending is self._ending

    async def first(self) -> C | None:
        """See :meth:`argo_mw.plugin.Stream.first`."""
        if self._demand is not None:
            self._demand.want(1)
        return await super().first()

    @property
    def broken_by(self) -> Exception | None:
        """The original error that broke it off, if it comes from the network."""
        return None if self._demand is None else cast("OnDemand", self._source).error

    def hold(self) -> Callable[[], None]:
        """See :meth:`argo_mw.plugin.Stream.hold`."""
        release, demand = super().hold(), self._demand
        if demand is None:
            return release
        demand.held += 1
        held = [True]

        def end() -> None:
            if held:
                held.clear()
                demand.held -= 1
                release()

        return end

    def leave(self, why: str) -> None:
        """End the reading of this handle, which may be waiting for a piece.

        If all of the answer has come, it is complete; else the waiting reader gets an error that
        says *why*.
        """
        demand = self._demand
        if demand is not None and self._ending.ended and demand.readers == 1:
            cast("OnDemand", self._source).end()
        else:
            self.abort(why)

    async def closed(self) -> None:
        """Wait until its connection is closed, for at most a second, if no client has it."""
        if self._demand is not None and not self._demand.readers and not self._demand.held:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING):
                    await cast("OnDemand", self._source).closed.wait()

    def read(self) -> AsyncIterator[C]:
        """See :meth:`argo_mw.plugin.Stream.read`."""
        pieces = super().read()
        return pieces if self._demand is None else self._on_demand(pieces, self._demand)

    async def _on_demand(self, pieces: AsyncIterator[C], demand: Demand) -> AsyncIterator[C]:
        demand.readers += 1
        read = 0
        last: asyncio.Task[C | None] | None = None
        ended = False
        try:
            while not ended:
                read += 1
                demand.want(read)
                if self._ending.ended and not super().complete:
                    # A reader that is cancelled here has the whole answer, which is not lost.
                    last = self._tasks.spawn("llm:last", _next(pieces), of_call=True)
                    piece = await asyncio.shield(last)
                else:
                    piece = await anext(pieces, None)
                ended = piece is None
                if piece is not None:
                    yield piece
        finally:
            demand.readers -= 1
            if self._ending.ended and not ended and not demand.readers:
                cast("OnDemand", self._source).end()
                ending = self._tasks.finish("llm:end", _read_out(pieces, last))
                await asyncio.shield(ending)
            else:
                if last is not None and not last.done():
                    last.cancel()
                    await asyncio.wait([last])
                await pieces.aclose()  # type: ignore[attr-defined]

    @property
    def complete(self) -> bool:
        """Whether the answer may be kept: it was not aborted, truncated or refused."""
        ending = self._ending
        return super().complete and not ending.cut and is_kept(ending.stop, keep_tools=False)

    @property
    def aborted(self) -> bool:
        """Whether it broke off before the model ended it."""
        return super().aborted and not self._ending.stop

    @property
    def text(self) -> str:
        """The text so far, if the pieces are text."""
        return "".join(self._ending.parts)


def whole_stream(content: bytes, tasks: Tasks, ending: Ending) -> AnswerStream[bytes]:
    """Return a stream of an answer that came in one piece."""
    stream: AnswerStream[bytes] = AnswerStream.of([content], tasks)
    stream._ending = ending
    return stream


def to_plain(stream: AnswerStream[object]) -> object:
    """Return the parts of *stream* that are stored for replay.

    Raises:
        NotEncodable: It is not complete.
    """
    if not stream.complete:
        msg = "a stream that is not complete is not an answer to keep"
        raise NotEncodable(msg)
    ending = stream.ending
    return [
        stream.chunks,
        ending.model,
        ending.stop,
        ending.usage,
        ending.heard,
        ending.headers,
    ]


def from_plain(plain: Any, tasks: Tasks) -> AnswerStream[object]:
    """Return the complete stream that was stored as *plain*; *tasks* own its readers."""
    chunks, model, stop, usage, heard, headers = plain
    parts = [chunk for chunk in chunks if isinstance(chunk, str)]
    stream: AnswerStream[object] = AnswerStream.of(chunks, tasks)
    stream._ending = Ending(model, stop, usage, heard, headers, parts)
    return stream


async def _next(pieces: AsyncIterator[C]) -> C | None:
    return await anext(pieces, None)


async def _read_out(pieces: AsyncIterator[object], last: asyncio.Task[object] | None) -> None:
    with suppress(StreamAborted):
        if last is not None:
            await last
        async for _ in pieces:
            pass


def is_kept(stop: str, *, keep_tools: bool) -> bool:
    """Return whether an answer that ended with *stop* may be kept for other calls.

    Truncated answers and refusals are not; nor are tool calls, since a replay would repeat their
    side effects.
    """
    return stop == "end" or (stop == "tool" and keep_tools)
