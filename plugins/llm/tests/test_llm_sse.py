"""A stream over the wire: read as far as its readers are, and known by its last event."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw.plugin import Tasks
from argo_mw_llm.bodies.sse import EVENTS, EventSource
from argo_mw_llm.bodies.streams import AnswerStream, Demand, Ending
from argo_mw_llm.costs.usage import lines_with, read_body, read_events
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
        self.given = 0
        self.read_to_its_end = False
        self.closed = asyncio.Event()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        for piece in self._all:
            self.given += 1
            yield piece
        if self._then is not None:
            await self._then.wait()
        self.read_to_its_end = True

    async def close(self) -> None:
        self.closed.set()


@asynccontextmanager
async def streamed(response: Response, wire: str = "chat") -> AsyncIterator[AnswerStream[bytes]]:
    """Give the answer in *response*, as the clients of SDKs read it."""
    ending, demand, tasks = Ending("m"), Demand(), Tasks()
    pieces = response.pieces()
    source = EventSource(wire_named(wire), EVENTS, pieces, response.close, ending, demand)
    try:
        yield AnswerStream(source, tasks, ending, demand=demand)
    finally:
        await tasks.aclose()


def cut(raw: bytes, places: set[int]) -> list[bytes]:
    edges = [0, *sorted(places), len(raw)]
    return [raw[a:b] for a, b in pairwise(edges) if a < b]


async def ended(stream: AnswerStream[bytes]) -> None:
    """Wait until *stream* has ended, well or not."""
    done = asyncio.Event()
    stream.on_done(lambda _: done.set())
    await done.wait()


async def first_of(stream: AnswerStream[bytes], pieces: int) -> list[bytes]:
    """Read so many *pieces*, and leave."""
    reader = stream.read()
    read = [await anext(reader) for _ in range(pieces)]
    await reader.aclose()  # type: ignore[attr-defined]
    return read


@pytest.mark.parametrize(("wire", "raw"), [("chat", CHAT), ("anthropic", CLAUDE)])
async def test_what_comes_after_the_last_event_is_passed_on_too(wire: str, raw: bytes) -> None:
    async with streamed(Response([raw, b": and more\n\n"]), wire) as stream:
        assert [raw, b": and more\n\n"] == [piece async for piece in stream.read()]
    assert stream.complete
    assert "end" == stream.ending.stop


@pytest.mark.parametrize(("wire", "raw"), [("chat", CHAT), ("anthropic", CLAUDE)])
@pytest.mark.parametrize("pieces", [1, 2])
async def test_an_answer_that_is_left_after_its_last_event_is_complete_and_closed_at_once(
    wire: str, raw: bytes, pieces: int
) -> None:
    """However long the connection would have gone on; one piece more may have been asked for."""
    response = Response([raw, b": and more\n\n"], then=asyncio.Event())
    async with streamed(response, wire) as stream:
        await first_of(stream, pieces)
        await ended(stream)
        await response.closed.wait()
    assert stream.complete
    assert not response.read_to_its_end


async def test_a_reader_that_is_cancelled_after_the_last_event_leaves_a_complete_answer() -> None:
    response = Response([CHAT], then=asyncio.Event())
    async with streamed(response) as stream:
        reader = stream.read()
        await anext(reader)
        waiting = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await reader.aclose()  # type: ignore[attr-defined]
        await ended(stream)
    assert stream.complete


async def test_the_last_reader_of_several_decides_how_long_a_connection_is_read() -> None:
    response = Response([CHAT, b": and more\n\n"])
    async with streamed(response) as stream:
        other = stream.share().read()
        await anext(other)
        await first_of(stream, 1)
        assert [b": and more\n\n"] == [piece async for piece in other]
    assert stream.complete


@given(st.sets(st.integers(1, len(CHAT) - 1)), st.booleans())
def test_the_end_is_found_however_the_events_are_cut(places: set[int], carriage: bool) -> None:
    raw = CHAT.replace(b"\n", b"\r\n") if carriage else CHAT
    pieces = cut(raw, places)

    async def read() -> bytes:
        async with streamed(Response(pieces)) as stream:
            read = await first_of(stream, len(pieces))
            await ended(stream)
        assert stream.complete
        return b"".join(read)

    assert raw == asyncio.run(read())


async def test_a_word_like_the_last_event_inside_the_text_is_not_the_end() -> None:
    first, rest = CHAT.split(b"\n\n", 1)
    async with streamed(Response([first + b"\n\n", rest])) as stream:
        await first_of(stream, 1)
        await ended(stream)
    assert stream.aborted
    assert "" == stream.ending.stop


async def test_an_answer_left_before_its_end_closes_at_once() -> None:
    response = Response([CHAT[:20], CHAT[20:]])
    async with streamed(response) as stream:
        await first_of(stream, 1)
        await response.closed.wait()
    assert not response.read_to_its_end
    assert stream.aborted
    assert 20 // 8 == stream.ending.heard


async def test_no_more_is_read_than_the_foremost_reader_asks_for() -> None:
    """A provider is paid for what it writes, and a connection that is not read slows it down."""
    response = Response(cut(CHAT, {10, 20, 30, 40}))
    async with streamed(response) as stream:
        one, other = stream.read(), stream.share().read()
        assert 0 == response.given
        first = await anext(one)
        await asyncio.sleep(0)
        assert 1 == response.given
        assert [first, CHAT[10:20]] == [await anext(other), await anext(other)]
        assert 2 == response.given
        assert CHAT[10:20] == await anext(one)
        assert 2 == response.given
        rest = b"".join([piece async for piece in one])
        assert CHAT[20:] == rest
        assert rest == b"".join([piece async for piece in other])
    assert stream.complete


def _stops(wire: str, body: dict[str, object], events: Sequence[dict[str, object]]) -> set[str]:
    """Why an answer ended: whole, and streamed."""
    ending = Ending("m")
    read_events(
        wire_named(wire), b"".join(b"data: %b\n\n" % json.dumps(e).encode() for e in events), ending
    )
    return {read_body(wire_named(wire), json.dumps(body).encode())[2], ending.stop}


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


@given(
    st.lists(st.sampled_from([b"a", b"bc", b" ", b"\n", b"\r", b"\r\n", b"x"]), max_size=40),
    st.sets(st.sampled_from([b"a", b"ab", b"bc", b"aa", b"x"])),
)
def test_the_lines_with_a_mark_are_those_that_hold_one(
    parts: list[bytes], marks: set[bytes]
) -> None:
    raw = b"".join(parts)
    expected = [line for line in raw.splitlines() if any(mark in line for mark in marks)]
    assert expected == list(lines_with([*marks], raw))
