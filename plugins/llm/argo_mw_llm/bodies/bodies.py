"""Bodies of answers, limited in size.

The SDKs read bodies of any size themselves. So a response is limited before they get it: its stream
counts the bytes from the network and from each decompression, and fails at the limit. It yields to
other tasks in between, however small the pieces are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Final

import httpx2

from argo_mw.plugin import Turns
from argo_mw_llm.bodies.off_loop import in_thread
from argo_mw_llm.bodies.pieces import BodyTooLarge, Pieces, pieces_for

_MAX_ERROR_BYTES: Final = 256 * 1024
_ENCODING: Final = "content-encoding"
_MAX_ENCODINGS: Final = 5
"""The most content encodings, which are decoded and counted one by one; httpx2 refuses more."""
_LENGTH: Final = "content-length"


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

    The body of an error is truncated instead, since its beginning says enough. A body that was read
    already stays as it is.
    """
    if not has_been_read(response):
        response.stream = body_of(response, limit)
        plain(response)


def has_been_read(response: httpx2.Response) -> bool:
    """Return whether the body of *response* is in memory already, or gone."""
    return response.is_stream_consumed or response.is_closed


def body_of(
    response: httpx2.Response, limit: int, wire: bytearray | None = None
) -> AsyncBody | BlockingBody:
    """Return the body of *response*, decompressed, which fails or is truncated as by :func:`bound`.

    The bytes from the network are appended to *wire*, if that is given.
    """
    stream = response.stream
    if response.is_error:
        limit = min(limit, _MAX_ERROR_BYTES)
    count = _Count(limit, cut=response.is_error)
    if isinstance(stream, httpx2.AsyncByteStream):
        noted = stream if wire is None else _AsyncTee(stream, wire)
        pieces = pieces_for(response.headers.get("content-type", ""))
        return AsyncBody(stream, _decompressing(response, noted, count), count, pieces)
    assert isinstance(stream, httpx2.SyncByteStream)
    plain = stream if wire is None else _Tee(stream, wire)
    return BlockingBody(stream, _decompressing_blocking(response, plain, count), count)


async def content_of(response: httpx2.Response, limit: int) -> bytes:
    """Return all of the body of *response*, decompressed, and let it be read once more.

    The next reader gets the bytes as they came over the network.

    Raises:
        BodyTooLarge: It has more than *limit* bytes.
    """
    original = response.stream
    wire = bytearray()
    compressed = _ENCODING in response.headers
    body = body_of(response, limit, wire if compressed else None)
    if isinstance(body, AsyncBody):
        try:
            gathered = bytearray()  # of many small pieces, a list would take a multiple
            async for piece in body:
                gathered += piece
            content = bytes(gathered)
        finally:
            await body.aclose()
    else:
        content = await in_thread(_read_whole, body)
    as_it_came = compressed and not body.was_cut
    if not as_it_came:
        plain(response)
    response.stream = Replayed(bytes(wire) if as_it_came else content, original)
    return content


def plain(response: httpx2.Response) -> None:
    """Change the headers of *response* to say that its body is not compressed."""
    if _ENCODING in response.headers:
        del response.headers[_ENCODING]
        response.headers.pop(_LENGTH, None)


class Replayed(httpx2.AsyncByteStream, httpx2.SyncByteStream):
    """A body in memory, in place of the stream from which it was read."""

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
    """Counts how much of a body was read."""

    def __init__(self, limit: int, *, cut: bool) -> None:
        self._limit = limit
        self._cut = cut
        self._read = 0
        self.was_cut = False

    def again(self) -> _Count:
        """Return a new count with the same limit, for another step of decompression."""
        return _Count(self._limit, cut=self._cut)

    def take(self, piece: bytes) -> tuple[bytes, bool]:
        """Return the part of *piece* within the limit, and whether the body goes on.

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
    """The body of an asynchronous response, decompressed and limited."""

    def __init__(
        self,
        stream: httpx2.AsyncByteStream,
        decompressing: httpx2.AsyncByteStream,
        count: _Count,
        pieces: Pieces,
    ) -> None:
        self._stream = stream
        self._decompressing = decompressing
        self._count = count
        self._pieces = pieces

    def __getattr__(self, name: str) -> object:
        return kept_on(self._stream, name)

    @property
    def was_cut(self) -> bool:
        """Whether it was longer than an error may be."""
        return self._count.was_cut

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        turns = Turns()
        async with _closing(self._decompressing) as arriving:
            async for arrived in arriving:
                taken, goes_on = self._count.take(arrived)
                for at, piece in enumerate(self._pieces.add(taken)):
                    if at and turns.due():
                        await asyncio.sleep(0)
                    yield piece
                if not goes_on:
                    break
                # Any number of arrivals may give no piece yet.
                if turns.due():
                    await asyncio.sleep(0)
        for piece in self._pieces.rest():
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


class BlockingBody(httpx2.SyncByteStream):
    """The body of a synchronous response, decompressed and limited."""

    def __init__(
        self, stream: httpx2.SyncByteStream, decompressing: httpx2.SyncByteStream, count: _Count
    ) -> None:
        self._stream = stream
        self._counted = _Counted(decompressing, count)
        self._count = count

    def __getattr__(self, name: str) -> object:
        return kept_on(self._stream, name)

    @property
    def was_cut(self) -> bool:
        """Whether it was longer than an error may be."""
        return self._count.was_cut

    def __iter__(self) -> Iterator[bytes]:
        yield from self._counted

    def close(self) -> None:
        self._stream.close()


class _AsyncTee(httpx2.AsyncByteStream):
    """A stream that also appends its pieces to a buffer."""

    def __init__(self, stream: httpx2.AsyncByteStream, seen: bytearray) -> None:
        self._stream = stream
        self._seen = seen

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            self._seen += piece
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Tee(httpx2.SyncByteStream):
    """The same for a synchronous stream."""

    def __init__(self, stream: httpx2.SyncByteStream, seen: bytearray) -> None:
        self._stream = stream
        self._seen = seen

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            self._seen += piece
            yield piece

    def close(self) -> None:
        self._stream.close()


class _AsyncCounted(httpx2.AsyncByteStream):
    """A stream that fails or ends at the limit, and yields to other tasks."""

    def __init__(self, stream: httpx2.AsyncByteStream, count: _Count) -> None:
        self._stream = stream
        self._count = count

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        turns = Turns()
        async with _closing(self._stream) as pieces:
            async for piece in pieces:
                taken, goes_on = self._count.take(piece)
                yield taken
                if not goes_on:
                    break
                # A few bytes may become many pieces, none of which waits for the network.
                if turns.due():
                    await asyncio.sleep(0)

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Counted(httpx2.SyncByteStream):
    """The same for a synchronous stream, which blocks only a thread."""

    def __init__(self, stream: httpx2.SyncByteStream, count: _Count) -> None:
        self._stream = stream
        self._count = count

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            taken, goes_on = self._count.take(piece)
            yield taken
            if not goes_on:
                return

    def close(self) -> None:
        self._stream.close()


class _AsyncDecoded(httpx2.AsyncByteStream):
    """A stream with one encoding undone, by httpx2, as the body of a response."""

    def __init__(self, encoding: str, stream: httpx2.AsyncByteStream) -> None:
        self._response = httpx2.Response(200, headers={_ENCODING: encoding}, stream=stream)

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        async with contextlib.aclosing(self._response.aiter_bytes()) as pieces:
            async for piece in pieces:
                yield piece

    async def aclose(self) -> None:
        await self._response.aclose()


class _Decoded(httpx2.SyncByteStream):
    """The same for a synchronous stream."""

    def __init__(self, encoding: str, stream: httpx2.SyncByteStream) -> None:
        self._response = httpx2.Response(200, headers={_ENCODING: encoding}, stream=stream)

    def __iter__(self) -> Iterator[bytes]:
        yield from self._response.iter_bytes()

    def close(self) -> None:
        self._response.close()


def _encodings(response: httpx2.Response) -> Iterator[str]:
    """Yield the encodings of *response*, the last one first.

    The output of each is counted, since the next one may turn any amount of it into nothing.
    """
    found = [one.strip() for one in response.headers.get_list(_ENCODING, split_commas=True)]
    yield from reversed(found if len(found) <= _MAX_ENCODINGS else [", ".join(found)])


def _decompressing(
    response: httpx2.Response, stream: httpx2.AsyncByteStream, count: _Count
) -> httpx2.AsyncByteStream:
    """Return *stream*, the body of *response*, decompressed step by step."""
    for encoding in _encodings(response):
        stream = _AsyncDecoded(encoding, _AsyncCounted(stream, count.again()))
    return stream


def _decompressing_blocking(
    response: httpx2.Response, stream: httpx2.SyncByteStream, count: _Count
) -> httpx2.SyncByteStream:
    """Do what :func:`_decompressing` does for a synchronous stream."""
    for encoding in _encodings(response):
        stream = _Decoded(encoding, _Counted(stream, count.again()))
    return stream


@contextlib.asynccontextmanager
async def _closing(stream: httpx2.AsyncByteStream) -> AsyncIterator[AsyncIterator[bytes]]:
    """Yield the pieces of *stream*; their generator is closed with the block."""
    pieces = aiter(stream)
    try:
        yield pieces
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


def kept_on(stream: object, name: str) -> object:
    """Return the attributes that a client has set on a body, such as its timing and observers."""
    if name.startswith("_"):
        raise AttributeError(name)
    return getattr(stream, name)


def _read_whole(body: BlockingBody) -> bytes:
    try:
        return b"".join(body)
    finally:
        body.close()
