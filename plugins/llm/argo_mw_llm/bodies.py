"""Bodies of answers: how much of one is taken in.

The SDKs read bodies themselves, whatever their size. So a response is bounded before they get it:
its stream counts what comes out of decompression, and breaks off where there is more than allowed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Final

import httpx2

from argo_mw.plugin import Argo, config_of
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.off_loop import in_thread

_MAX_ERROR_BYTES: Final = 256 * 1024
_STEP: Final = 1024 * 1024
"""Bytes that are decompressed before others have their turn."""
_ENCODING: Final = "content-encoding"
_LENGTH: Final = "content-length"


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
    if not has_been_read(response):
        response.stream = body_of(response, limit)
        plain(response)


def has_been_read(response: httpx2.Response) -> bool:
    """Return whether the body of *response* is in memory already, or gone."""
    return response.is_stream_consumed or response.is_closed


def body_of(
    response: httpx2.Response, limit: int, wire: list[bytes] | None = None
) -> AsyncBody | BlockingBody:
    """Return the body of *response*, decompressed, which fails or is cut as for :func:`bound`.

    What comes over the wire is added to *wire*, if that is given.
    """
    stream = response.stream
    if response.is_error:
        limit = min(limit, _MAX_ERROR_BYTES)
    count = _Count(limit, cut=response.is_error)
    if isinstance(stream, httpx2.AsyncByteStream):
        noted = stream if wire is None else _AsyncTee(stream, wire)
        return AsyncBody(stream, _decompressing(response, noted), count)
    assert isinstance(stream, httpx2.SyncByteStream)
    return BlockingBody(
        stream, _decompressing(response, stream if wire is None else _Tee(stream, wire)), count
    )


async def content_of(response: httpx2.Response, limit: int) -> bytes:
    """Return all of the body of *response*, decompressed, and let it be read once more.

    What reads it next gets the bytes as they came over the wire.

    Raises:
        BodyTooLarge: It has more than *limit* bytes.
    """
    original = response.stream
    wire: list[bytes] = []
    compressed = _ENCODING in response.headers
    body = body_of(response, limit, wire if compressed else None)
    if isinstance(body, AsyncBody):
        try:
            content = b"".join([piece async for piece in body])
        finally:
            await body.aclose()
    else:
        content = await in_thread(_read_whole, body)
    as_it_came = compressed and not body.was_cut
    if not as_it_came:
        plain(response)
    response.stream = Replayed(b"".join(wire) if as_it_came else content, original)
    return content


def plain(response: httpx2.Response) -> None:
    """Let *response* say that its body is not compressed."""
    if _ENCODING in response.headers:
        del response.headers[_ENCODING]
        response.headers.pop(_LENGTH, None)


class Replayed(httpx2.AsyncByteStream, httpx2.SyncByteStream):
    """A body that is in memory, in place of the one that it was read from."""

    def __init__(self, content: bytes, original: object = None) -> None:
        self._content = content
        self._original = original

    def __getattr__(self, name: str) -> object:
        return kept_on(self._original, name)

    def __iter__(self) -> Iterator[bytes]:
        yield self._content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content


class _Count:
    """How much of a body has been taken in."""

    def __init__(self, limit: int, *, cut: bool) -> None:
        self._limit = limit
        self._cut = cut
        self._read = 0
        self.was_cut = False

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
        self.was_cut = True
        return piece[: len(piece) - over], False


class AsyncBody(httpx2.AsyncByteStream):
    """The body of an asynchronous response, decompressed and bounded."""

    def __init__(
        self, stream: httpx2.AsyncByteStream, decompressing: httpx2.Response, count: _Count
    ) -> None:
        self._stream = stream
        self._decompressing = decompressing
        self._count = count

    def __getattr__(self, name: str) -> object:
        return kept_on(self._stream, name)

    @property
    def was_cut(self) -> bool:
        """Whether it was longer than an error may be."""
        return self._count.was_cut

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        unyielded = 0
        pieces = self._decompressing.aiter_bytes()
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
        await self._stream.aclose()


class BlockingBody(httpx2.SyncByteStream):
    """The body of a synchronous response, decompressed and bounded."""

    def __init__(
        self, stream: httpx2.SyncByteStream, decompressing: httpx2.Response, count: _Count
    ) -> None:
        self._stream = stream
        self._decompressing = decompressing
        self._count = count

    def __getattr__(self, name: str) -> object:
        return kept_on(self._stream, name)

    @property
    def was_cut(self) -> bool:
        """Whether it was longer than an error may be."""
        return self._count.was_cut

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._decompressing.iter_bytes():
            taken, goes_on = self._count.take(piece)
            yield taken
            if not goes_on:
                return

    def close(self) -> None:
        self._stream.close()


class _AsyncTee(httpx2.AsyncByteStream):
    """A stream whose pieces are noted as they are read."""

    def __init__(self, stream: httpx2.AsyncByteStream, seen: list[bytes]) -> None:
        self._stream = stream
        self._seen = seen

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            self._seen.append(piece)
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Tee(httpx2.SyncByteStream):
    """The same for a synchronous stream."""

    def __init__(self, stream: httpx2.SyncByteStream, seen: list[bytes]) -> None:
        self._stream = stream
        self._seen = seen

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            self._seen.append(piece)
            yield piece

    def close(self) -> None:
        self._stream.close()


def _decompressing(
    response: httpx2.Response, stream: httpx2.AsyncByteStream | httpx2.SyncByteStream
) -> httpx2.Response:
    """Return what decompresses *stream*: httpx2, in a response of its own."""
    return httpx2.Response(response.status_code, headers=response.headers, stream=stream)


def kept_on(stream: object, name: str) -> object:
    """Return what a client keeps on a body, such as the time that it took, or who observes it."""
    if name.startswith("_"):
        raise AttributeError(name)
    return getattr(stream, name)


def _read_whole(body: BlockingBody) -> bytes:
    try:
        return b"".join(body)
    finally:
        body.close()
