"""Streams: one answer that arrives in pieces, read by several readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from copy import copy
from typing import Generic, Self, TypeVar

from argo_mw.base.cancellation import message_of
from argo_mw.base.error_copies import copy_error
from argo_mw.base.errors import StreamAborted
from argo_mw.base.tasks import Tasks
from argo_mw.base.turns import Turns
from argo_mw.model.outcome import Cost
from argo_mw.model.stream_buffer import StreamBuffer

C = TypeVar("C")

MAX_CHUNKS = 100_000


class Stream(Generic[C]):
    """A bounded, append-only buffer of chunks with independent readers.

    Every reader sees every chunk from the first on, at its own pace, whenever it starts. The
    source is read once, ahead of its readers, up to *max_chunks*; when the last reader leaves
    before the end, the source is closed and the stream is aborted. Chunks that can be changed are
    copied for each reader; one that cannot be copied is given to the first only.

    Each of several callers gets a handle of its own (:meth:`share`), so that one that aborts the
    stream ends its own readers only.
    """

    def __init__(
        self,
        source: AsyncIterator[C],
        tasks: Tasks,
        *,
        name: str = "stream",
        max_chunks: int = MAX_CHUNKS,
    ) -> None:
        self._buffer = StreamBuffer(source, tasks, name=name, max_chunks=max_chunks)
        self._readers = 0
        self._left: StreamAborted | None = None

    @classmethod
    def of(cls, chunks: Sequence[C], tasks: Tasks) -> Self:
        """Return a stream of *chunks* that is complete already: a kept answer, replayed.

        *tasks* own its readers, as for any stream.
        """
        stream = cls(_nothing(), tasks)
        for chunk in chunks:
            stream._buffer.append(chunk)
        stream._buffer.done = True
        return stream

    def share(self) -> Self:
        """Return a handle of the same stream for another caller."""
        handle = copy(self)
        handle._readers = 0
        handle._left = None
        return handle

    @property
    def complete(self) -> bool:
        """Whether the source ended by itself; only then is the answer whole."""
        return self._buffer.done and self._error is None

    @property
    def aborted(self) -> bool:
        """Whether it ended in an error, or before its source did."""
        return self._error is not None

    @property
    def chunks(self) -> Sequence[C]:
        """The chunks that have arrived."""
        buffer = self._buffer
        return tuple([buffer.chunk(at, taken=False) for at in range(len(buffer.kept))])

    @property
    def cost(self) -> Cost | None:
        """What all of it cost; ``None`` until that is known: at its end, if at all."""
        return self._buffer.cost

    @cost.setter
    def cost(self, cost: Cost | None) -> None:
        self._buffer.cost = cost

    def on_done(self, callback: Callable[[Self], None]) -> None:
        """Call *callback* with the stream once it has ended, well or not; at once if it has."""
        self._buffer.when_done(lambda: callback(self))

    def on_first(self, callback: Callable[[], None]) -> None:
        """Call *callback* when the first chunk has arrived; at once if it has.

        It is not called for a stream that ends without a chunk.
        """
        self._buffer.when_begun(callback)

    def read_after(self, enter: Callable[[], object]) -> None:
        """Call *enter* in the context that the source is read in; the first one given counts.

        That is a copy of the first reader's context, who need not be the caller that is answered.
        """
        if self._buffer.enter is None:
            self._buffer.enter = enter

    async def first(self) -> C | None:
        """Wait for the first chunk, or ``None`` from an empty stream, without being a reader.

        Cancelling the wait aborts a stream without readers.

        Raises:
            StreamAborted: The stream ended in an error before its first chunk.
        """
        buffer = self._buffer
        buffer.start()
        try:
            while not buffer.kept and not self._ended:
                await buffer.change()
        except asyncio.CancelledError:
            if buffer.readers == 0:
                buffer.abort("its only reader stopped waiting")
            raise
        if buffer.kept:
            return buffer.chunk(0, taken=False)
        if self._error is not None:
            raise _copy(self._error)
        return None

    async def read(self) -> AsyncIterator[C]:
        """Yield the chunks, from the first on.

        Raises:
            StreamAborted: The source failed, or the stream was aborted; what arrived before
                has been yielded.
        """
        buffer = self._buffer
        self._readers += 1
        buffer.readers += 1
        buffer.start()
        arrived, position = buffer.kept, 0
        turns = Turns()
        try:
            while True:
                while position < len(arrived):
                    chunk = buffer.chunk(position, taken=True)
                    position += 1
                    yield chunk
                    # What has arrived already waits for nothing.
                    if position < len(arrived) and turns.due():
                        await asyncio.sleep(0)
                if self._ended:
                    break
                await buffer.change()
            if self._error is not None:
                raise _copy(self._error)
        finally:
            self._leave()

    def hold(self) -> Callable[[], None]:
        """Count as a reader that has yet to begin, so that others who leave do not end the source.

        Returns:
            What ends that; the last one to leave aborts the stream. Calling it again does nothing.
        """
        self._readers += 1
        self._buffer.readers += 1
        held = [True]

        def release() -> None:
            if held:
                held.clear()
                self._leave()

        return release

    def abort(self, why: str) -> None:
        """End the stream for the readers of this handle, and its source if no others read it.

        They get what has arrived, then an error that names *why*.
        """
        if self._ended:
            return
        buffer = self._buffer
        if buffer.readers > self._readers:
            self._left = buffer.aborted(why)
            buffer.wake()
        else:
            buffer.abort(why)

    def _leave(self) -> None:
        self._readers -= 1
        self._buffer.readers -= 1
        if self._buffer.readers == 0:
            self._buffer.abort("its last reader left")

    @property
    def _ended(self) -> bool:
        return self._buffer.done or self._left is not None

    @property
    def _error(self) -> Exception | None:
        return self._buffer.error if self._left is None else self._left


def _copy(error: Exception) -> StreamAborted:
    own = StreamAborted(message_of(error))
    own.__cause__ = copy_error(error)
    return own


async def _nothing() -> AsyncIterator[C]:
    return
    yield
