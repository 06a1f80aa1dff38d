"""Bodies of answers: how much of one is taken in.

The SDKs read bodies themselves, whatever their size. So a response is bounded before they get it:
its stream counts what comes out of decompression, and breaks off where there is more than allowed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final

import httpx2

from argo_mw.plugin import Argo, config_of
from argo_mw_llm.config import LlmConfig

_MAX_ERROR_BYTES: Final = 256 * 1024
_STEP: Final = 1024 * 1024
"""Bytes that are decompressed before others have their turn."""
_ENCODING: Final = "content-encoding"


class BodyTooLarge(httpx2.DecodingError):
    """A body has more bytes, decompressed, than an answer may have."""


def limit_of(argo: Argo) -> int:
    """Return how many bytes of an answer *argo* takes in at most."""
    return config_of(argo, LlmConfig).max_decoded_bytes


def too_large(error: BaseException | None) -> BodyTooLarge | None:
    """Return the :class:`BodyTooLarge` among *error* and its causes, if there is one."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, BodyTooLarge):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def bound(response: httpx2.Response, limit: int) -> None:
    """Let reading *response* fail once its body has more than *limit* bytes, decompressed.

    The body of an error is cut off instead: its beginning says what there is to say. A body that
    has been read already stays as it is.
    """
    if response.is_stream_consumed or response.is_closed:
        return
    stream = response.stream
    if response.is_error:
        limit = min(limit, _MAX_ERROR_BYTES)
    # What decompresses is httpx2, in a response of its own: the outer one gets the plain bytes.
    inner = httpx2.Response(response.status_code, headers=response.headers, stream=stream)
    cut = response.is_error
    if isinstance(stream, httpx2.AsyncByteStream):
        response.stream = _AsyncBounded(inner, limit, cut=cut)
    else:
        response.stream = _Bounded(inner, limit, cut=cut)
    if _ENCODING in response.headers:
        del response.headers[_ENCODING]


class _Count:
    """How much of a body has been taken in."""

    def __init__(self, limit: int, *, cut: bool) -> None:
        self._limit = limit
        self._cut = cut
        self._read = 0

    def take(self, piece: bytes) -> tuple[bytes, bool]:
        """Return what of *piece* is still taken in, and whether the body goes on.

        Raises:
            BodyTooLarge: The body is larger than allowed.
        """
        self._read += len(piece)
        over = self._read - self._limit
        if over <= 0:
            return piece, True
        if not self._cut:
            msg = (
                f"its answer has more than {self._limit} bytes: ask for a shorter one, or raise "
                "max_decoded_bytes in [plugins.llm]"
            )
            raise BodyTooLarge(msg)
        return piece[: len(piece) - over], False


class _AsyncBounded(httpx2.AsyncByteStream):
    def __init__(self, response: httpx2.Response, limit: int, *, cut: bool) -> None:
        self._response = response
        self._stream = response.stream
        self._count = _Count(limit, cut=cut)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        unyielded = 0
        pieces = self._response.aiter_bytes()
        try:
            async for piece in pieces:
                taken, goes_on = self._count.take(piece)
                yield taken
                if not goes_on:
                    break
                unyielded += len(piece)
                if unyielded > _STEP:
                    # A few bytes may become many pieces, and none of them waits for the network.
                    unyielded = 0
                    await asyncio.sleep(0)
        finally:
            await pieces.aclose()

    async def aclose(self) -> None:
        assert isinstance(self._stream, httpx2.AsyncByteStream)
        await self._stream.aclose()


class _Bounded(httpx2.SyncByteStream):
    def __init__(self, response: httpx2.Response, limit: int, *, cut: bool) -> None:
        self._response = response
        self._stream = response.stream
        self._count = _Count(limit, cut=cut)

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._response.iter_bytes():
            taken, goes_on = self._count.take(piece)
            yield taken
            if not goes_on:
                return

    def close(self) -> None:
        assert isinstance(self._stream, httpx2.SyncByteStream)
        self._stream.close()
