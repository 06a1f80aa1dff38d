"""Pieces of a body: neither so small that there are too many, nor too large to read in a moment.

A server decides in which pieces a body comes: a byte in each, or ten thousand events in one. The
SDKs gather the pieces of a whole answer in a list, where each takes some fifty bytes more; they
read all events of a piece before anything else has its turn; and they copy what they have of an
event for each further line and piece of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

import httpx2

MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
"""Bytes of one event of a stream at most; the last one of some holds the whole answer."""
MAX_EVENT_LINES: Final = 1000
"""Lines of one event at most: of those that providers send, each has three or fewer."""
_AS_THEY_COME: Final = 1000
"""Pieces of a whole body that are handed on as they are."""
_GATHERED: Final = 64 * 1024
_MAX_PIECE: Final = 2048


class BodyTooLarge(httpx2.DecodingError):
    """A body has more bytes, decompressed, than an answer may have, or an event of it has."""


class Pieces(Protocol):
    """Gives a body in other pieces than it comes in."""

    def add(self, arrived: bytes) -> Iterable[bytes]:
        """Return the pieces that are ready now that *arrived* has come."""

    def rest(self) -> Iterator[bytes]:
        """Yield what is left at the body's end."""


def pieces_for(content_type: str) -> Pieces:
    """Return the pieces for a body of *content_type*."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return _Events()
    return _Gathered()


class _Gathered:
    """The pieces of a whole body as they come, and larger ones once there were very many."""

    def __init__(self) -> None:
        self._passed = 0
        self._waiting = bytearray()

    def add(self, arrived: bytes) -> Iterator[bytes]:
        if self._passed < _AS_THEY_COME:
            self._passed += 1
            yield arrived
            return
        self._waiting += arrived
        if len(self._waiting) >= _GATHERED:
            yield from self.rest()

    def rest(self) -> Iterator[bytes]:
        if self._waiting:
            yield bytes(self._waiting)
            self._waiting.clear()


class _Events:
    """Small pieces of a stream of events, at once, each event of bounded length."""

    def __init__(self) -> None:
        self._end = b""
        self._bytes = self._lines = 0

    def add(self, arrived: bytes) -> Iterable[bytes]:
        if not 0 < len(arrived) <= _MAX_PIECE:
            return self._parts(arrived)
        self._check(arrived)  # nearly all are so small, and a generator takes as long as the check
        return (arrived,)

    def _parts(self, arrived: bytes) -> Iterator[bytes]:
        for at in range(0, len(arrived), _MAX_PIECE):
            piece = arrived[at : at + _MAX_PIECE]
            self._check(piece)
            yield piece

    def rest(self) -> Iterator[bytes]:
        yield from ()

    def _check(self, piece: bytes) -> None:
        seen = self._end + piece  # a blank line may lie across
        self._end = seen[-3:]
        # Written out: for each event of a stream.
        if b"\n\n" in seen or b"\r\n\r\n" in seen or b"\r\r" in seen:
            self._bytes = self._lines = 0
            return
        self._bytes += len(piece)
        self._lines += piece.count(b"\n") + piece.count(b"\r")
        if self._bytes > MAX_EVENT_BYTES or self._lines > 2 * MAX_EVENT_LINES:
            msg = (
                f"an event of its stream has more than {MAX_EVENT_BYTES} bytes or "
                f"{MAX_EVENT_LINES} lines"
            )
            raise BodyTooLarge(msg)
