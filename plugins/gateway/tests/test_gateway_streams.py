"""Streams as providers send them: compressed, cut anywhere, broken off."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx2
import pytest

from argo_mw_llm.relay.relay import Relay

from .conftest import CHAT, MESSAGE, VENDOR_KEY, Start

STREAMED = {**MESSAGE, "stream": True}
HEAD = {"model": "claude-sonnet-5-5", "usage": {"input_tokens": 3, "output_tokens": 1}}
DELTA = {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}}
TEXT = {"index": 0, "delta": {"type": "text_delta", "text": "Hold."}}


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


EVENTS = b"".join(
    [
        event("message_start", message=HEAD),
        event("content_block_delta", **TEXT),
        event("message_delta", **DELTA),
        event("message_stop"),
    ]
)


class Provider(httpx2.AsyncBaseTransport):
    """A provider that answers everything with the same pieces."""

    def __init__(self, pieces: Sequence[bytes], **headers: str) -> None:
        self.asked = 0
        self._pieces = pieces
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._headers = {"content-type": "text/event-stream", **named}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        return httpx2.Response(200, headers=self._headers, stream=_Pieces(self._pieces))


class _Pieces(httpx2.AsyncByteStream):
    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


def compressed(content: bytes) -> list[bytes]:
    by = zlib.compressobj(wbits=31)
    return [
        by.compress(content[:99]) + by.flush(zlib.Z_SYNC_FLUSH),
        by.compress(content[99:]),
        by.flush(),
    ]


async def test_a_compressed_stream_is_read_passed_on_and_kept(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Provider(compressed(EVENTS), content_encoding="gzip")
    monkeypatch.setattr(Relay, "_sending", provider)
    async with start() as running, running.client() as client:
        answers = [await client.post("/v1/messages", json=STREAMED) for _ in range(2)]
        assert [EVENTS, EVENTS] == [one.content for one in answers]
        assert [3, 4] == [running.charges[0].cost.tokens_in, running.charges[0].cost.tokens_out]
    assert 1 == provider.asked


@pytest.mark.parametrize("left_out", [1, 2, 20, 30, len(event("message_stop")) - 1])
async def test_a_stream_that_ends_within_an_event_is_booked_and_never_kept(
    start: Start, monkeypatch: pytest.MonkeyPatch, left_out: int
) -> None:
    provider = Provider([EVENTS[:150], EVENTS[150:-left_out]])
    monkeypatch.setattr(Relay, "_sending", provider)
    async with start() as running, running.client() as client:
        for _ in range(2):
            answer = await client.post("/v1/messages", json=STREAMED)
            assert EVENTS[:-left_out] == answer.content
        booked = [(one.cost.tokens_in, one.cost.tokens_out) for one in running.charges]
        assert [(3, 4), (3, 4)] == booked
    assert 2 == provider.asked


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\n", b""])
async def test_a_chat_stream_is_kept_however_its_last_line_ends(
    start: Start, monkeypatch: pytest.MonkeyPatch, end: bytes
) -> None:
    choice = {"index": 0, "delta": {"content": "Hold."}, "finish_reason": "stop"}
    chunk = {"model": "deepseek-v4-pro", "choices": [choice], "usage": None}
    usage = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}
    between = b"\r\n\r\n" if end.startswith(b"\r") else b"\n\n"
    shown = b"data: " + json.dumps(chunk).encode() + between
    hidden = b"data: " + json.dumps(usage).encode() + between
    content = shown + hidden + b"data: [DONE]" + end
    provider = Provider([content[at : at + 1] for at in range(len(content))])
    monkeypatch.setattr(Relay, "_sending", provider)
    async with start() as running, running.client() as client:
        for _ in range(2):
            answer = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
            assert shown + b"data: [DONE]" + end == answer.content
        assert [5, 7] == [running.charges[0].cost.tokens_in, running.charges[0].cost.tokens_out]
    assert 1 == provider.asked


async def test_an_error_within_a_stream_is_passed_on_without_the_key_and_never_kept(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = event("error", error={"type": "overloaded_error", "message": f"key {VENDOR_KEY}"})
    provider = Provider([EVENTS[:150] + b"\n\n" + error], access_control_allow_origin="*")
    monkeypatch.setattr(Relay, "_sending", provider)
    async with start() as running, running.client() as client:
        for _ in range(2):
            answer = await client.post("/v1/messages", json=STREAMED)
            assert b"overloaded_error" in answer.content
            assert VENDOR_KEY.encode() not in answer.content
            assert not any(name.startswith("access-control") for name in answer.headers)
    assert 2 == provider.asked
