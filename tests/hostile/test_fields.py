"""Whatever a provider writes into a field that its SDK hands on unchecked, answers are what they say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from argo_mw import Argo, ArgoError
from argo_mw.plugin import Charge, RequestSettled, observe, observes
from argo_mw_llm import LlmPlugin
from argo_mw_llm.answers import Completion
from argo_mw_llm.bodies.streams import AnswerStream
from tests.hostile.wire import Hostile, hostile_server


def _nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


ODD: Sequence[object] = (
    *("x" * 1000, "\0", "\ud800\x1b[2J\nERROR"),
    *(None, 5, 1e308, [], {"a": 1}, _nested(900)),
)
CHAT = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "glm-5.3",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {
                "role": "assistant",
                "content": "hi",
                "tool_calls": [
                    {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
        }
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 5},
}
MESSAGE = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5",
    "content": [
        {"type": "text", "text": "hi"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {}},
    ],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 5, "output_tokens": 5},
}
CHUNK = {
    "id": "x",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "glm-5.3",
    "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 5},
}
EVENTS = [
    {"type": "message_start", "message": {**MESSAGE, "content": []}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
]


def _variants(value: Any) -> Iterator[Any]:
    """Yield *value* with each part of it replaced by each odd value."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from ({**value, name: odd} for odd in (*ODD, *_variants(inner)))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            for odd in _variants(inner):
                yield [*value[:at], odd, *value[at + 1 :]]


def _chunks(chunk: object) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n"


def _events(events: Sequence[Any]) -> bytes:
    return b"".join(
        f"event: {one.get('type')!a}\ndata: {json.dumps(one)}\n\n".replace("'", "").encode()
        for one in events
    )


BODIES = {
    "glm": [json.dumps(one).encode() for one in _variants(CHAT)],
    "claude": [json.dumps(one).encode() for one in _variants(MESSAGE)],
    "glm stream": [_chunks(one) for one in _variants(CHUNK)],
    "claude stream": [_events(one) for one in _variants(EVENTS)],
}
MODELS = {"glm": "glm-5.3", "claude": "claude-haiku-4-5"}


@pytest.fixture
async def server() -> AsyncIterator[Hostile]:
    async with hostile_server() as started:
        yield started


@pytest.fixture
async def argo(server: Hostile, tmp_path: Path) -> AsyncIterator[Argo]:
    provider = {"url": server.url, "key": "k" * 20}
    config = {
        "argo": {"shared": "memory://", "state_dir": str(tmp_path)},
        "upstreams": {name: {"per_minute": 0} for name in ("glm", "claude")},
        "plugins": {"llm": {"glm": provider, "claude": provider}},
    }
    async with Argo.open(config, plugins={"llm": LlmPlugin()}, installed=False) as opened:
        yield opened


def _is_word(text: object) -> bool:
    return isinstance(text, str) and text.isprintable() and len(text) <= 200


async def _answer(argo: Argo, model: str, prompt: str, *, stream: bool) -> None:
    """Ask, and check the answer, if there is one."""
    try:
        answer = await argo.call("complete", messages=prompt, model=model, stream=stream)
        if isinstance(answer, AnswerStream):
            pieces = [piece async for piece in answer.read()]
            assert answer.text == "".join(pieces)
            assert _is_word(answer.ending.model)
            assert _is_word(answer.ending.stop)
            return
    except ArgoError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert len(said) <= 1000
        return
    assert isinstance(answer, Completion)
    assert isinstance(answer.text, str)
    assert answer.model
    assert _is_word(answer.model)
    assert _is_word(answer.stop)
    for call in answer.tool_calls:
        assert _is_word(call.id)
        assert _is_word(call.name)
        assert isinstance(call.arguments, str)


@pytest.mark.parametrize("what", BODIES)
async def test_every_answer_is_what_its_fields_say(argo: Argo, server: Hostile, what: str) -> None:
    provider, _, stream = what.partition(" ")
    charges: list[Charge] = []

    @observes(RequestSettled)
    def note(event: RequestSettled) -> None:
        charges.extend(event.charges)

    observe(argo, note)
    server.headers = (f"content-type: {'text/event-stream' if stream else 'application/json'}",)
    for number, body in enumerate(BODIES[what]):
        server.body = lambda body=body: iter([body])  # type: ignore[misc]
        await _answer(argo, MODELS[provider], f"{number}", stream=bool(stream))
    assert len(BODIES[what]) == len(charges)
    assert all(_is_word(charge.cost.model) for charge in charges)
