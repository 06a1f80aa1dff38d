"""Removes the event of a stream that only we have asked for.

A chat stream reports its usage in an event of its own if the request asks for it. Programs that
have not asked fail on it, since it has no choices. So it is removed; all other events stay as they
came, byte for byte. A piece that ends within an event waits for the rest of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from argo_mw_llm.bodies.foreign_json import read_json
from argo_mw_llm.wires import Wire

_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")
_USAGE = b'"usage"'


class VisibleEvents:
    """Removes the event that reports the usage from a stream over *wire*, piece by piece."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._waiting = bytearray()

    def of(self, piece: bytes) -> bytes:
        """Return what can be passed on after *piece* has come, which may be nothing."""
        # The rest so far contains no end of an event, but one may be split over both.
        start = max(0, len(self._waiting) - 3)
        self._waiting += piece
        end = max(self._end_of(mark, start) for mark in _ENDS)
        if not end:
            return b""
        complete = bytes(self._waiting[:end])
        del self._waiting[:end]
        if _USAGE not in complete:
            return complete
        return b"".join(event for event in _events(complete) if not self._reports_usage(event))

    def rest(self) -> bytes:
        """Return what is left at the end of the stream."""
        rest = bytes(self._waiting)
        self._waiting.clear()
        return b"" if self._reports_usage(rest) else rest

    def _end_of(self, mark: bytes, start: int) -> int:
        at = self._waiting.rfind(mark, start)
        return 0 if at < 0 else at + len(mark)

    def _reports_usage(self, event: bytes) -> bool:
        if _USAGE not in event:
            return False
        lines = (line for line in event.splitlines() if line.startswith(b"data:"))
        try:
            content = read_json(b"\n".join(line[5:] for line in lines))
        except ValueError:
            return False
        return isinstance(content, dict) and self._wire.reports_usage_alone(content)


def _events(complete: bytes) -> Iterator[bytes]:
    """Yield the events in *complete*, each with the blank line that ends it."""
    start = 0
    for end in _END.finditer(complete):
        yield complete[start : end.end()]
        start = end.end()
