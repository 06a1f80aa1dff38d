"""Server-sent events as they come over the wire, ending where their answer ends.

The SDKs stop reading at the answer's last event, a moment before the connection ends. So that the
stream is complete for them and for layers that keep it, it ends with that event.

Formats: https://html.spec.whatwg.org/multipage/server-sent-events.html; the last events are
``message_stop`` of Anthropic's messages and ``[DONE]`` of OpenAI's chat completions.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator

from argo_mw.plugin import Clock, TimeLimitExceeded, fail_at
from argo_mw_llm.off_loop import MANY_BYTES, off_loop
from argo_mw_llm.streams import Ending
from argo_mw_llm.usage import read_events
from argo_mw_llm.wires import Wire

_MAX_LAST_EVENT = 256
"""Bytes of a last event; one that is longer ends with the connection."""
_END = re.compile(rb"\n\r?\n")
_DRAIN = 1.0
"""Seconds that an ended answer's connection has to end too, so that it can be used again."""


class EventSource:
    """The source of a stream: the pieces of one response, up to its answer's last event.

    Args:
        wire: The protocol of the answer.
        pieces: The response's pieces; closing it closes the response.
        ending: Gets what the answer took, once it has ended.
        clock: Limits the wait for the connection of an answer that has ended.
    """

    def __init__(
        self, wire: Wire, pieces: AsyncGenerator[bytes, None], ending: Ending, clock: Clock
    ) -> None:
        self._wire = wire
        self._pieces = pieces
        self._ending = ending
        self._clock = clock
        self._seen: list[bytes] = []
        self._tail = b""
        self._last = False
        self._ended = False

    def __aiter__(self) -> EventSource:
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        try:
            piece = await anext(self._pieces)
        except Exception:
            await self._learn()
            raise
        except BaseException:
            # A task that is cancelled waits for nothing more.
            read_events(self._wire, b"".join(self._seen), self._ending)
            raise
        self._seen.append(piece)
        self._ending.heard += len(piece) // 8
        self._tail = (self._tail + piece)[-_MAX_LAST_EVENT:]
        # Only the piece with its name is searched for the event: 2 µs less for all others.
        if not self._last and self._wire.last in self._tail:
            begun = self._wire.last_event.search(self._tail)
            self._last = begun is not None
            if begun is not None:
                self._tail = self._tail[begun.end() - 1 :]
        if self._last and _END.search(self._tail):
            self._ended = True
            await self._learn()
        return piece

    async def aclose(self) -> None:
        """Close the response; one whose answer has ended is read to its own end first."""
        try:
            if self._ended:
                await fail_at(self._drain(), self._clock.monotonic() + _DRAIN, self._clock)
        except TimeLimitExceeded:
            pass
        finally:
            await self._pieces.aclose()

    async def _drain(self) -> None:
        async for _ in self._pieces:
            pass

    async def _learn(self) -> None:
        raw = b"".join(self._seen)
        await off_loop(len(raw) > MANY_BYTES, read_events, self._wire, raw, self._ending)
