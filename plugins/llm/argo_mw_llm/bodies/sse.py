"""Answers in pieces as they come over the network, with their usage at the end.

An answer ends with its last event; the connection ends a moment later. Some SDKs stop reading at
that event, others read on. So everything is passed on, and an answer whose last reader stops after
the last event is complete: its connection is then closed, as the SDK would close it.

Formats: https://html.spec.whatwg.org/multipage/server-sent-events.html; the last events are
``message_stop`` of Anthropic's messages and ``[DONE]`` of OpenAI's chat completions. Bedrock wraps
Anthropic's events in frames of its own. A body that is not a stream of events may be read in pieces
too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from base64 import b64decode
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

from argo_mw_llm.bodies.off_loop import MANY_BYTES, off_loop
from argo_mw_llm.bodies.streams import Demand, Ending
from argo_mw_llm.bodies.visible_events import VisibleEvents
from argo_mw_llm.costs.usage import read_body, read_events
from argo_mw_llm.wires import Wire

_MAX_LAST_EVENT = 256
"""The size in bytes of the beginning of a last event, and of its end."""
_END = re.compile(rb"\n\r?\n")
_BETWEEN = (b"\r\n\r\n", b"\n\n", b"\r\r")
"""The separator of events."""
_DONE = b"[DONE]"
_MAX_END = 64 * 1024
"""How many bytes at either end of an answer a cancelled task still reads."""

EVENTS = "text/event-stream"
FRAMES = "application/vnd.amazon.eventstream"


class EventSource:
    """The source of a stream: the pieces of one response, read as far as its readers ask for.

    Args:
        wire: The protocol of the answer.
        kind: Its content type.
        pieces: The response's pieces.
        close: Closes the response.
        ending: Receives model, stop and usage of the answer once it has ended.
        demand: How many pieces the readers have asked for.
        hides_usage: Whether the event that reports the usage is read here and not passed on.

    Attributes:
        error: The error by which it failed, if it did.
        closed: Set once the response is closed.
    """

    def __init__(
        self,
        wire: Wire,
        kind: str,
        pieces: AsyncGenerator[bytes, None],
        close: Callable[[], Awaitable[object]],
        ending: Ending,
        demand: Demand,
        *,
        hides_usage: bool = False,
    ) -> None:
        self._kind = kind
        self._wire = wire
        self._pieces = pieces
        self._close = close
        self._ending = ending
        self._demand = demand
        self._begun = False
        self._seen: list[bytes] = []
        self._passed = 0
        self._visible = VisibleEvents(wire) if hides_usage else None
        self._tail = b""
        self._connection = asyncio.timeout(None)
        self._left = False
        self.error: Exception | None = None
        self.closed = asyncio.Event()

    def __aiter__(self) -> EventSource:
        return self

    async def __anext__(self) -> bytes:
        if self._visible is None:
            piece = await self._next()
            self._passed += 1
            return piece
        while True:
            try:
                piece = self._visible.of(await self._next())
            except StopAsyncIteration:
                piece = self._visible.rest()
                if not piece:
                    raise
            if piece:
                self._passed += 1
                return piece

    async def _next(self) -> bytes:
        """Return the next piece, once a reader asks for one more than were passed on."""
        try:
            await self._demand.until(self._passed + 1)
            piece = await (self._next_of_ended() if self._ending.ended else anext(self._pieces))
        except Exception as error:
            if isinstance(error, StopAsyncIteration):
                self._ending.cut = self._is_cut()
            else:
                self.error = error
            await self._learn()
            raise
        except BaseException:
            self._learn_at_once()
            raise
        self._seen.append(piece)
        self._ending.heard += len(piece) // 8
        self._tail = (self._tail + piece)[-_MAX_LAST_EVENT:]
        # Only a piece with its name is searched for the event: 2 µs less for all others.
        if not self._begun and self._wire.last in self._tail:
            self._find_last_event()
        if self._begun and not self._ending.ended and _END.search(self._tail):
            await self._learn()
            self._ending.ended = True
        return piece

    def _is_cut(self) -> bool:
        """Return whether what has come ends within an event, even if the answer has its stop.

        Some providers end the last event with a single line end.
        """
        if self._ending.ended or not self._kind.startswith(EVENTS):
            return False
        last = max(_after_last(between, self._tail) for between in _BETWEEN)
        rest = self._tail[last:]
        return not rest.rstrip().endswith(_DONE) and bool(rest.strip())

    def _find_last_event(self) -> None:
        found = self._wire.last_event.search(self._tail)
        if found is not None:
            self._begun = True
            self._tail = self._tail[found.end() - 1 :]

    def end(self) -> None:
        """End an answer whose last event has come, even if its connection is still open."""
        self._left = True
        self._demand.want(None)
        with contextlib.suppress(RuntimeError):  # nothing is waited for
            self._connection.reschedule(0.0)

    async def aclose(self) -> None:
        """Close the response, even one that has not been read."""
        try:
            await self._pieces.aclose()
        finally:
            try:
                await self._close()
            finally:
                self.closed.set()

    async def _next_of_ended(self) -> bytes:
        if self._left:
            raise StopAsyncIteration
        self._connection = asyncio.timeout(None)
        try:
            async with self._connection:
                return await anext(self._pieces)
        except TimeoutError:
            if self._left:
                raise StopAsyncIteration from None
            raise

    def _learn_at_once(self) -> None:
        """Read the usage from the ends of an answer whose task was cancelled.

        Such a task must not wait, and the ends contain all that matters.
        """
        if self._ending.ended:
            return
        raw = b"".join(self._seen)
        if len(raw) > 2 * _MAX_END:
            raw = b"\n".join((raw[:_MAX_END], raw[-_MAX_END:]))
        learn(self._kind, self._wire, raw, self._ending)

    async def _learn(self) -> None:
        if self._ending.ended:
            return
        raw = b"".join(self._seen)
        await off_loop(len(raw) > MANY_BYTES, learn, self._kind, self._wire, raw, self._ending)


def learn(kind: str, wire: Wire, raw: bytes, ending: Ending) -> None:
    """Read model, stop and usage from *raw*, the body of an answer of the content type *kind*."""
    kind = kind.partition(";")[0].strip().lower()
    if kind == FRAMES:
        _read_frames(wire, raw, ending)
    elif kind.endswith("json"):
        _read_whole(wire, raw, ending)
    else:
        read_events(wire, raw, ending)


def _read_whole(wire: Wire, raw: bytes, ending: Ending) -> None:
    """Read model, stop and usage of an answer that is not a stream, though it came in pieces."""
    with contextlib.suppress(ValueError):
        usage, model, ending.stop = read_body(wire, raw)
        ending.model = model or ending.model
        ending.usage, ending.miscounted = usage, usage is None


def _read_frames(wire: Wire, raw: bytes, ending: Ending) -> None:
    """Read model, stop and usage of an answer of Bedrock."""
    read_events(wire, b"\n\n".join(b"data: " + event for event in _events_in(raw)), ending)


def _events_in(raw: bytes) -> Iterator[bytes]:
    """Yield the events in the frames of Bedrock's streams."""
    try:
        # Bedrock's clients need it themselves.
        from botocore.eventstream import (  # type: ignore[import-not-found,unused-ignore]
            EventStreamBuffer,
            ParserError,
        )
    except ImportError:
        return
    frames = EventStreamBuffer()
    frames.add_data(raw)
    with contextlib.suppress(ParserError, ValueError, KeyError, TypeError):
        for frame in frames:
            yield b64decode(json.loads(frame.payload)["bytes"])


def _after_last(part: bytes, data: bytes) -> int:
    """Return where in *data* the last *part* ends, 0 if there is none."""
    found = data.rfind(part)
    return found + len(part) if found >= 0 else 0
