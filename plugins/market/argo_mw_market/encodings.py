"""Encodings: a body as it comes over the wire, decompressed step by step and counted in each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

import httpx2

from argo_mw.plugin import Turns

_ENCODING: Final = "content-encoding"
_MAX_ENCODINGS: Final = 5
"""Encodings that are undone one by one, and counted; more are refused by httpx2."""


_TOO_MUCH: Final = "there is more than allowed"


class TooMuch(httpx2.DecodingError):
    """There are more bytes than allowed, on the wire or between two encodings."""


async def decoded(reply: httpx2.Response, limit: int) -> AsyncGenerator[bytes, None]:
    """Yield the body of *reply*, decompressed; the last piece may go beyond *limit* bytes.

    What one encoding takes in is counted too: it may make nothing of ever so much. Others have
    their turn in between, however small the pieces are.

    Raises:
        TooMuch: One encoding takes in more than *limit* bytes.
    """
    stream = reply.stream
    assert isinstance(stream, httpx2.AsyncByteStream)
    encodings = [one.strip() for one in reply.headers.get_list(_ENCODING, split_commas=True)]
    if len(encodings) > _MAX_ENCODINGS:
        encodings = [", ".join(encodings)]
    for encoding in reversed(encodings):
        stream = _Decoded(encoding, _Bounded(stream, limit))
    async with contextlib.aclosing(_in_turns(stream)) as pieces:
        async for piece in pieces:
            yield piece


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, limit: int) -> None:
        self._stream = stream
        self._left = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with contextlib.aclosing(_in_turns(self._stream)) as pieces:
            async for piece in pieces:
                self._left -= len(piece)
                if self._left < 0:
                    raise TooMuch(_TOO_MUCH)
                yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Decoded(httpx2.AsyncByteStream):
    def __init__(self, encoding: str, stream: httpx2.AsyncByteStream) -> None:
        self._response = httpx2.Response(200, headers={_ENCODING: encoding}, stream=stream)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with contextlib.aclosing(self._response.aiter_bytes()) as pieces:
            async for piece in pieces:
                yield piece

    async def aclose(self) -> None:
        await self._response.aclose()


async def _in_turns(stream: httpx2.AsyncByteStream) -> AsyncGenerator[bytes, None]:
    turns = Turns()
    pieces = aiter(stream)
    try:
        async for piece in pieces:
            yield piece
            if turns.due():
                await asyncio.sleep(0)
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()
