"""A stream over the wire ends with its answer's last event, whatever the connection does then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw.testing import FakeClock
from argo_mw_llm.sse import EventSource
from argo_mw_llm.streams import Ending
from argo_mw_llm.usage import read_body, read_events
from argo_mw_llm.wires import wire_named

CHAT = (
    b'data: {"model":"m","choices":[{"delta":{"content":"data: [DONE]\\n\\n"}}]}\n\n'
    b'data: {"model":"m","choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)
CLAUDE = (
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    b'"usage":{"output_tokens":3}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)


class Response:
    """Pieces of a response; *then* decides what the connection does after them."""

    def __init__(self, pieces: Sequence[bytes], then: asyncio.Event | None = None) -> None:
        self._all = pieces
        self._then = then
        self.read_to_its_end = False
        self.closed = False

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            for piece in self._all:
                yield piece
            if self._then is not None:
                await self._then.wait()
            self.read_to_its_end = True
        finally:
            self.closed = True


def wire(
    response: Response, name: str = "chat", clock: FakeClock | None = None
) -> tuple[EventSource, Ending]:
    ending = Ending("m")
    return EventSource(wire_named(name), response.pieces(), ending, clock or FakeClock()), ending


def cut(raw: bytes, places: set[int]) -> list[bytes]:
    edges = [0, *sorted(places), len(raw)]
    return [raw[a:b] for a, b in pairwise(edges) if a < b]


@pytest.mark.parametrize(("name", "raw"), [("chat", CHAT), ("anthropic", CLAUDE)])
async def test_the_last_event_is_the_end_though_the_connection_stays_open(
    name: str, raw: bytes
) -> None:
    response = Response([raw], then=asyncio.Event())
    source, ending = wire(response, name)
    assert [raw] == [piece async for piece in source]
    assert "end" == ending.stop


@given(st.sets(st.integers(1, len(CHAT) - 1)), st.booleans())
def test_the_end_is_found_however_the_events_are_cut(places: set[int], carriage: bool) -> None:
    raw = CHAT.replace(b"\n", b"\r\n") if carriage else CHAT

    async def read() -> bytes:
        source, _ = wire(Response(cut(raw, places), then=asyncio.Event()))
        return b"".join([piece async for piece in source])

    assert raw == asyncio.run(read())


async def test_a_word_like_the_last_event_inside_the_text_is_not_the_end() -> None:
    first, rest = CHAT.split(b"\n\n", 1)
    source, ending = wire(Response([first + b"\n\n", rest]))
    await anext(source)
    assert "" == ending.stop
    assert rest == await anext(source)


async def test_the_connection_of_an_ended_answer_is_read_to_its_end() -> None:
    response = Response([CHAT])
    source, _ = wire(response)
    await anext(source)
    await source.aclose()
    assert response.read_to_its_end
    assert response.closed


async def test_a_connection_that_never_ends_is_closed_after_a_second() -> None:
    clock = FakeClock()
    response = Response([CHAT], then=asyncio.Event())
    source, _ = wire(response, clock=clock)
    await anext(source)
    closing = asyncio.create_task(source.aclose())
    await clock.advance(0.9)
    assert not response.closed
    await clock.advance(0.2)
    await closing
    assert response.closed
    assert not response.read_to_its_end


async def test_an_answer_left_before_its_end_closes_at_once() -> None:
    response = Response([CHAT[:20], CHAT[20:]])
    source, ending = wire(response)
    await anext(source)
    await source.aclose()
    assert response.closed
    assert not response.read_to_its_end
    assert 20 // 8 == ending.heard


def _stops(name: str, body: dict[str, object], events: Sequence[dict[str, object]]) -> set[str]:
    """Why an answer ended: whole, and streamed."""
    ending = Ending("m")
    read_events(
        wire_named(name), b"".join(b"data: %b\n\n" % json.dumps(e).encode() for e in events), ending
    )
    return {read_body(wire_named(name), json.dumps(body).encode())[2], ending.stop}


@pytest.mark.parametrize(
    ("stops", "expected"),
    [
        (["stop", "stop"], "end"),
        (["stop", "length"], "length"),
        (["length", "stop"], "length"),
        (["stop", "tool_calls"], "tool"),
        (["stop", "content_filter"], "refusal"),
    ],
)
def test_an_answer_of_several_choices_ended_well_if_all_of_them_did(
    stops: list[str], expected: str
) -> None:
    choices: list[dict[str, object]] = [
        {"index": number, "finish_reason": stop} for number, stop in enumerate(stops)
    ]
    events = [{"choices": [choice]} for choice in choices]
    assert {expected} == _stops("chat", {"choices": choices}, events)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"type": "mcp_tool_use", "name": "open_ticket"}, "tool"),
        ({"type": "server_tool_use", "name": "web_search"}, "tool"),
        ({"type": "text", "text": '{"type": "mcp_tool_use"}'}, "end"),
    ],
    ids=lambda one: one["type"] if isinstance(one, dict) else one,
)
def test_what_a_tool_did_at_the_provider_is_a_tools_doing_too(
    block: dict[str, str], expected: str
) -> None:
    events: list[dict[str, object]] = [
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}},
    ]
    assert {expected} == _stops(
        "anthropic", {"content": [block], "stop_reason": "end_turn"}, events
    )
