"""A client's reading of an answer in pieces: to the end, in part, or not at all."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import AsyncGeneratorType
from typing import cast

import httpx2

from argo_mw.plugin import ArgoError, StreamAborted
from argo_mw_llm.bodies.pieces import BodyTooLarge
from argo_mw_llm.bodies.streams import AnswerStream

_CLOSED = "its reader has closed it"


class Reading:
    """One client's reading of a stream, from the moment that the client gets it.

    The client may close it at any time, even while another of its tasks or threads waits for a
    piece: that one gets an error, as from a closed connection. A client that drops it without
    closing it has left too. Make and use it on the loop of the stream.

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
        """Return the next piece, or ``None`` at the end; raise errors that a client expects."""
        if self._left is not None:
            return None if self._stream.complete else httpx2.ReadError(_CLOSED)
        try:
            return await anext(self._pieces, None)
        except StreamAborted as error:
            return self._expected(error)
        except BaseException:
            self._release()  # clients do not close a body whose reading was cancelled
            raise
        finally:
            self._stopped()

    async def leave(self) -> None:
        """End it, and the wait for a piece if there is one."""
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
        """Return whether the current thread is that of its loop, which must not block."""
        with suppress(RuntimeError):
            return asyncio.get_running_loop() is self._loop
        return False

    def drop(self) -> None:
        """Leave without waiting for anything, from any thread."""
        with suppress(RuntimeError):  # a closed loop has ended all streams
            self._loop.call_soon_threadsafe(self._release)

    def __del__(self) -> None:
        if self._left is None:
            self.drop()

    def _expected(self, error: StreamAborted) -> Exception:
        # The sender of the request gets the original error, the others a copy.
        raised = self._stream.broken_by if self._own else None
        cause: BaseException | None = error.__cause__ if raised is None else raised
        if isinstance(cause, BodyTooLarge):
            return error  # which says what to do: an SDK would only say that it cannot be read
        if isinstance(cause, Exception) and not isinstance(cause, ArgoError):
            return cause
        return httpx2.ReadError(str(error))
