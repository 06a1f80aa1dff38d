"""How a client reads an answer in pieces: to the end, a part of it, or not at all."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import AsyncGeneratorType
from typing import cast

import httpx2

from argo_mw.plugin import ArgoError, StreamAborted
from argo_mw_llm.pieces import BodyTooLarge
from argo_mw_llm.streams import AnswerStream

_CLOSED = "its reader has closed it"


class Reading:
    """One client's reading of a stream, from the moment that it is given it.

    The client may close it at any time, also while another task or thread of it waits for a piece:
    that one gets an error, as from a connection that was closed. A client that drops it without
    closing it has left, too. Made and used on the loop of the stream.

    Args:
        stream: The stream.
        own: Whether it is the client's own request that the stream answers.
    """

    def __init__(self, stream: AnswerStream[bytes], *, own: bool) -> None:
        self._stream = stream
        self._own = own
        self._loop = asyncio.get_running_loop()
        self._pieces = cast("AsyncGeneratorType[bytes, None]", stream.read())
        self._left: asyncio.Event | None = None
        self._release = stream.hold()

    async def next(self) -> bytes | Exception | None:
        """Return the next piece, ``None`` at the end, or the error that a client expects."""
        if self._left is not None:
            return None if self._stream.complete else httpx2.ReadError(_CLOSED)
        try:
            return await anext(self._pieces, None)
        except StreamAborted as error:
            return self._expected(error)
        except BaseException:
            self._release()  # a client whose reading is cancelled does not close it
            raise
        finally:
            self._stopped()

    async def leave(self) -> None:
        """End it; what waits for a piece waits no longer."""
        if self._left is not None:
            return
        self._left = asyncio.Event()
        try:
            if self._pieces.ag_running:
                self._stream.leave(_CLOSED)
                await self._left.wait()
            await self._pieces.aclose()
        finally:
            self._release()
        await self._stream.closed()

    def _stopped(self) -> None:
        if self._left is not None:
            self._left.set()

    def is_here(self) -> bool:
        """Return whether this is the thread of its loop, which must not wait for itself."""
        with suppress(RuntimeError):
            return asyncio.get_running_loop() is self._loop
        return False

    def drop(self) -> None:
        """Leave without waiting for anything, from any thread."""
        with suppress(RuntimeError):  # a loop that is closed has ended all streams
            self._loop.call_soon_threadsafe(self._release)

    def __del__(self) -> None:
        if self._left is None:
            self.drop()

    def _expected(self, error: StreamAborted) -> Exception:
        # The caller whose request it was gets what was raised, the others a copy of it.
        raised = self._stream.broken_by if self._own else None
        cause: BaseException | None = raised or error.__cause__
        if isinstance(cause, BodyTooLarge):
            return error  # which says what to do: an SDK would only say that it cannot be read
        if isinstance(cause, Exception) and not isinstance(cause, ArgoError):
            return cause
        return httpx2.ReadError(str(error))
