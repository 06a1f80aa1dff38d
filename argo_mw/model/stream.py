"""Streams: one answer that arrives in pieces, read by several readers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextvars import copy_context
from typing import Generic, Self, TypeVar, cast

from attrs import define, frozen

from argo_mw.base.cancellation import described, is_failure
from argo_mw.base.error_copies import copy_error
from argo_mw.base.errors import Closed, NotShareable, StreamAborted
from argo_mw.base.immutability import is_immutable
from argo_mw.base.log import Log
from argo_mw.base.snapshots import Snapshot, snapshot
from argo_mw.base.tasks import Tasks
from argo_mw.model.outcome import Cost

C = TypeVar("C")

log = Log("argo_mw")

MAX_CHUNKS = 100_000


class Stream(Generic[C]):
    """A bounded, append-only buffer of chunks with independent readers.

    Every reader sees every chunk from the first on, at its own pace, whenever it starts. The
    source is read once, ahead of its readers, up to *max_chunks*; when the last reader leaves
    before the end, the source is closed and the stream is aborted. Chunks that can be changed are
    copied for each reader; one that cannot be copied is given to the first only.

    Attributes:
        cost: What all of it cost; ``None`` until that is known: at its end, if at all.
    """

    def __init__(
        self,
        source: AsyncIterator[C],
        tasks: Tasks,
        *,
        name: str = "stream",
        max_chunks: int = MAX_CHUNKS,
    ) -> None:
        self._source = source
        self._chunks: list[C | _Copied | _Uncopied] = []
        self._max_chunks = max_chunks
        self._readers = 0
        self._changed = asyncio.Event()
        self._done = False
        self._error: Exception | None = None
        self._callbacks: list[Callable[[Stream[C]], None]] = []
        self._tasks = tasks
        self._name = name
        self._pump: asyncio.Task[None] | None = None
        self._pumping = False
        self.cost: Cost | None = None

    @classmethod
    def of(cls, chunks: Sequence[C], tasks: Tasks) -> Self:
        """Return a stream of *chunks* that is complete already: a kept answer, replayed.

        *tasks* own its readers, as for any stream.
        """
        stream = cls(_nothing(), tasks)
        stream._chunks = [_kept(chunk) for chunk in chunks]
        stream._done = True
        return stream

    @property
    def complete(self) -> bool:
        """Whether the source ended by itself; only then is the answer whole."""
        return self._done and self._error is None

    @property
    def aborted(self) -> bool:
        """Whether it ended in an error, or before its source did."""
        return self._error is not None

    @property
    def chunks(self) -> Sequence[C]:
        """The chunks that have arrived."""
        return tuple([self._chunk(at, taken=False) for at in range(len(self._chunks))])

    def on_done(self, callback: Callable[[Stream[C]], None]) -> None:
        """Call *callback* with the stream once it has ended, well or not; at once if it has."""
        if self._done:
            callback(self)
        else:
            self._callbacks.append(callback)

    async def first(self) -> C | None:
        """Wait for the first chunk, or ``None`` from an empty stream, without being a reader.

        Cancelling the wait aborts a stream without readers.

        Raises:
            StreamAborted: The stream ended in an error before its first chunk.
        """
        self._start()
        try:
            while not self._chunks and not self._done:
                await self._changed.wait()
        except asyncio.CancelledError:
            if self._readers == 0:
                self.abort("its only reader stopped waiting")
            raise
        if self._chunks:
            return self._chunk(0, taken=False)
        if self._error is not None:
            raise self._copy_of_error()
        return None

    async def read(self) -> AsyncIterator[C]:
        """Yield the chunks, from the first on.

        Raises:
            StreamAborted: The source failed, or the stream was aborted; what arrived before
                has been yielded.
        """
        self._readers += 1
        self._start()
        position = 0
        try:
            while True:
                while position < len(self._chunks):
                    chunk = self._chunk(position)
                    position += 1
                    yield chunk
                if self._done:
                    break
                await self._changed.wait()
            if self._error is not None:
                raise self._copy_of_error()
        finally:
            self._readers -= 1
            if self._readers == 0 and not self._done:
                self.abort("its last reader left")

    def abort(self, why: str) -> None:
        """End the stream; its readers get what has arrived, then an error that names *why*."""
        if self._done:
            return
        self._finish(StreamAborted(f"stream {self._name!r} was aborted: {why}"))
        if self._pump is not None:
            self._pump.cancel()
        if not self._pumping:
            # A task that is cancelled before its first step closes nothing.
            with contextlib.suppress(Closed):
                self._tasks.spawn(
                    f"stream-close:{self._name}", self._close_source(), context=copy_context()
                )

    def _chunk(self, at: int, *, taken: bool = True) -> C:
        """Return the chunk at place *at* for one reader, who keeps it if *taken*."""
        kept = self._chunks[at]
        if type(kept) is _Copied or type(kept) is _Uncopied:
            return cast("C", kept.take() if taken else kept.look())
        return cast("C", kept)

    def _start(self) -> None:
        if self._pump is None and not self._done:
            self._pump = self._tasks.spawn(
                f"stream:{self._name}", self._read_source(), of_call=True
            )

    async def _read_source(self) -> None:
        self._pumping = True
        try:
            async for chunk in self._source:
                if len(self._chunks) >= self._max_chunks:
                    msg = f"stream {self._name!r} is longer than {self._max_chunks} chunks"
                    raise StreamAborted(msg)
                self._chunks.append(_kept(chunk))
                self._wake()
        except BaseException as error:
            if not is_failure(error):
                self._finish(StreamAborted(f"stream {self._name!r} was stopped"))
                raise
            self._finish(error if isinstance(error, Exception) else self._ended_by_itself(error))
        else:
            self._finish(None)
        finally:
            await self._close_source()

    def _ended_by_itself(self, error: BaseException) -> StreamAborted:
        return StreamAborted(f"the source of stream {self._name!r} failed: {described(error)}")

    async def _close_source(self) -> None:
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()

    def _finish(self, error: Exception | None) -> None:
        if self._done:
            return
        self._done = True
        self._error = error
        self._wake()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback(self)
            except Exception:
                # The others must hear of the end all the same: one of them books the cost.
                log.exception("a callback of a stream failed", stream=self._name)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _copy_of_error(self) -> Exception:
        assert self._error is not None
        own = StreamAborted(str(self._error))
        own.__cause__ = copy_error(self._error)
        return own


@frozen
class _Copied:
    """A chunk of which every reader gets a copy."""

    snapshot: Snapshot

    def take(self) -> object:
        return self.snapshot.copy()

    look = take


@define
class _Uncopied:
    """A chunk that one reader gets."""

    chunk: object
    refusal: NotShareable
    taken: bool = False

    def look(self) -> object:
        return self.chunk

    def take(self) -> object:
        if self.taken:
            raise copy_error(self.refusal)
        self.taken = True
        return self.chunk


def _kept(chunk: C) -> C | _Copied | _Uncopied:
    if is_immutable(chunk):
        return chunk
    try:
        return _Copied(snapshot(chunk))
    except NotShareable as error:
        return _Uncopied(chunk, error)


async def _nothing() -> AsyncIterator[C]:
    return
    yield
