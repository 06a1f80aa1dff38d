"""Pieces of a body: neither so small that there are too many, nor too large to read at once.

A server decides in which pieces a body comes: a byte in each, or ten thousand events in one. The
SDKs collect the pieces of a whole answer in a list, where each takes some fifty bytes more; they
read all events of a piece without yielding to other tasks; and they copy what they have of an event
for each further line and piece of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

import httpx2

MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
"""The most bytes of one event of a stream; the last event of some contains the whole answer."""
MAX_EVENT_LINES: Final = 1000
"""The most lines of one event; providers send three or fewer."""
_AS_THEY_COME: Final = 1000
"""The number of pieces of a whole body that are passed on as they are."""
_GATHERED: Final = 64 * 1024
_MAX_PIECE: Final = 2048


class BodyTooLarge(httpx2.DecodingError):
    """A body, or an event of it, is larger than allowed, decompressed."""


class Pieces(Protocol):
    """Divides a body into other pieces than it came in."""

    def add(self, arrived: bytes) -> Iterable[bytes]:
        """Return the pieces that are ready after *arrived* has come."""

    def rest(self) -> Iterator[bytes]:
        """Yield what is left at the body's end."""


def pieces_for(content_type: str) -> Pieces:
    """Return the pieces for a body of *content_type*."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return _Events()
    return _Gathered()


class _Gathered:
    """Passes on the pieces of a whole body, and joins them once there were very many."""

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
    """Divides a stream of events into small pieces, and limits the length of an event."""

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
