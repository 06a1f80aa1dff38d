"""The buffer of a stream: what all of its handles share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextvars import Context, copy_context
from typing import Generic, TypeVar, cast

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


class StreamBuffer(Generic[C]):
    """Chunks as they arrive, the source that they come from, and how it ended.

    Attributes:
        kept: The chunks that have arrived, as they are kept; see :meth:`chunk`.
        readers: How many read now, over all handles.
        done: Whether nothing more arrives.
        error: Why it ended before its source did, or ``None``.
        cost: What all of it cost; ``None`` until that is known.
        enter: Is called in the context that the source is read in, before that begins.
    """

    def __init__(
        self, source: AsyncIterator[C], tasks: Tasks, *, name: str, max_chunks: int
    ) -> None:
        self.readers = 0
        self.done = False
        self.error: Exception | None = None
        self.cost: Cost | None = None
        self.enter: Callable[[], object] | None = None
        self._source = source
        self.kept: list[C | _Copied | _Uncopied] = []
        self._max_chunks = max_chunks
        self._callbacks: list[Callable[[], None]] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._awaiting_first: list[Callable[[], None]] = []
        self._tasks = tasks
        self._name = name
        self._pump: asyncio.Task[None] | None = None
        self._pumping = False

    def append(self, chunk: C) -> None:
        """Add *chunk*, and let readers go on."""
        self.kept.append(_kept(chunk))
        if self._awaiting_first:
            self._call_awaiting()
        self.wake()

    def chunk(self, at: int, *, taken: bool) -> C:
        """Return the chunk at place *at* for one reader, who keeps it if *taken*."""
        kept = self.kept[at]
        if type(kept) is _Copied or type(kept) is _Uncopied:
            return cast("C", kept.take() if taken else kept.look())
        return cast("C", kept)

    def when_done(self, callback: Callable[[], None]) -> None:
        """Call *callback* once it has ended, well or not; at once if it has."""
        if self.done:
            callback()
        else:
            self._callbacks.append(callback)

    def when_begun(self, callback: Callable[[], None]) -> None:
        """Call *callback* when the first chunk is there; at once if it is."""
        if self.kept:
            callback()
        elif not self.done:
            self._awaiting_first.append(callback)

    def start(self) -> None:
        """Read the source from now on, if that has not begun."""
        if self._pump is None and not self.done:
            self._pump = self._tasks.spawn(
                f"stream:{self._name}", self._read_source(), context=self._context(), of_call=True
            )

    def aborted(self, why: str) -> StreamAborted:
        """Return the error of a reader whose stream is aborted for the reason *why*."""
        return StreamAborted(f"stream {self._name!r} was aborted: {why}")

    def abort(self, why: str) -> None:
        """End it; readers get what has arrived, then an error that names *why*."""
        if self.done:
            return
        self._finish(self.aborted(why))
        if self._pump is not None:
            self._pump.cancel()
        if not self._pumping:
            # A task that is cancelled before its first step closes nothing.
            with contextlib.suppress(Closed):
                self._tasks.spawn(
                    f"stream-close:{self._name}", self._close_source(), context=self._context()
                )

    def wake(self) -> None:
        """Let all that wait look again."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def change(self) -> None:
        """Wait until something has arrived or ended."""
        # Futures by hand: an Event for each chunk takes twice as long.
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            raise

    def _context(self) -> Context:
        context = copy_context()
        if self.enter is not None:
            context.run(self.enter)
        return context

    async def _read_source(self) -> None:
        self._pumping = True
        try:
            async for chunk in self._source:
                if len(self.kept) >= self._max_chunks:
                    msg = f"stream {self._name!r} is longer than {self._max_chunks} chunks"
                    raise StreamAborted(msg)
                self.append(chunk)
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
        if self.done:
            return
        self.done = True
        self.error = error
        self.wake()
        self._awaiting_first.clear()
        callbacks, self._callbacks = self._callbacks, []
        self._call(callbacks)

    def _call_awaiting(self) -> None:
        callbacks, self._awaiting_first = self._awaiting_first, []
        self._call(callbacks)

    def _call(self, callbacks: Iterable[Callable[[], None]]) -> None:
        for callback in callbacks:
            try:
                callback()
            except Exception:
                # The others must hear of it all the same: one of them books the cost.
                log.exception("a callback of a stream failed", stream=self._name)


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
