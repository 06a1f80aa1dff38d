"""What requests through a gateway are made of: fields, visible events, and concealed keys."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw.plugin import BadParameter, WebRequest
from argo_mw_llm.bodies.visible_events import VisibleEvents
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.relay.concealed import Concealment
from argo_mw_llm.relay.endpoints import body_of
from argo_mw_llm.relay.outgoing import outgoing, path_below, with_fields
from argo_mw_llm.wires import CHAT

KEY = "sk-vendor-0123456789"
USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 1}}\n\n'
WORD = b'data: {"choices": [{"delta": {"content": "\\n\\n"}}], "usage": null}\n\n'
OTHERS = [WORD, b": ping\n\n", b"data: [DONE]\n\n", b'data: {"choices": [], "usage": null}\n\n']


@given(
    st.lists(st.sampled_from([*OTHERS, USAGE]), max_size=8),
    st.lists(st.integers(1, 60), max_size=40),
    st.sampled_from([b"\n", b"\r\n"]),
)
def test_only_the_event_with_the_usage_is_hidden_however_the_stream_is_cut(
    events: list[bytes], cuts: list[int], line: bytes
) -> None:
    raw = b"".join(events).replace(b"\n", line)
    visible, shown = VisibleEvents(CHAT), []
    for cut in cuts:
        shown.append(visible.of(raw[:cut]))
        raw = raw[cut:]
    shown += [visible.of(raw), visible.rest()]
    expected = b"".join(event for event in events if event is not USAGE)
    assert expected.replace(b"\n", line) == b"".join(shown)


def test_an_event_that_is_not_complete_waits_and_comes_with_the_end() -> None:
    visible = VisibleEvents(CHAT)
    assert WORD == visible.of(WORD + b"data: half")
    assert b"data: half" == visible.rest()


class Stream:
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize("size", range(1, 30))
async def test_a_key_is_struck_out_of_a_stream_wherever_it_is_cut(size: int) -> None:
    content = f"sk-{KEY} and {KEY}{KEY} and sk-vendor".encode()
    source = Stream([content[at : at + size] for at in range(0, len(content), size)])
    stream = Concealment(KEY).stream(source)
    shown = b"".join([piece async for piece in stream])
    await stream.aclose()
    assert b"sk-*** and ****** and sk-vendor" == shown
    assert source.closed


def test_words_are_no_keys() -> None:
    assert b"none of it" == Concealment("none").body(b"none of it")
    assert b"of ***" == Concealment(KEY).body(b"of " + KEY.encode())
    assert [("a", "b")] == list(Concealment(KEY).headers([("a", "b"), ("c", f"x{KEY}")]))


@pytest.mark.parametrize(
    ("content", "fields", "expected"),
    [
        (b'{"a": 1.0} ', {"max_tokens": 5}, b'{"a": 1.0,"max_tokens": 5}'),
        (b'{"a":1}', {}, b'{"a":1}'),
        (b"{}", {"a": 1}, b'{"a": 1}'),
        (b'{"a": null}', {"a": 1}, b'{"a": 1}'),
    ],
)
def test_fields_are_added_and_all_else_stays_as_it_was(
    content: bytes, fields: dict[str, object], expected: bytes
) -> None:
    assert expected == with_fields(content, json.loads(content), fields)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b'{"model": "a", "model": "b"}', b'{"a": NaN}', b"\xff", b"[" * 100_000],
)
async def test_a_question_that_readers_understand_differently_is_refused(content: bytes) -> None:
    with pytest.raises(BadParameter):
        await body_of(WebRequest("POST", "/v1/messages", "", "", (), content))


@pytest.mark.parametrize(
    ("provider", "path", "expected"),
    [
        ("claude", "/v1/messages", "https://api.anthropic.com/v1/messages"),
        ("openai", "/v1/responses", "https://api.openai.com/v1/responses"),
        ("deepseek", "/v1/chat/completions", "https://api.deepseek.com/chat/completions"),
        ("glm", "/chat/completions", "https://api.z.ai/api/paas/v4/chat/completions"),
    ],
)
def test_a_request_goes_where_the_providers_sdk_would_send_it_with_our_key_alone(
    provider: str, path: str, expected: str
) -> None:
    profile = LlmConfig().profiles[provider]
    headers = [
        ("host", "localhost"),
        ("cookie", "a=b"),
        ("connection", "keep-alive"),
        ("x-forwarded-for", "10.0.0.1"),
        ("origin", "http://localhost"),
        ("argo-mw-sample", "1"),
        ("anthropic-beta", "x"),
    ]
    request = WebRequest("POST", path, query="beta=true", headers=headers)
    sent = outgoing(request, profile, KEY, path_below(profile, path))
    name, value = ("x-api-key", KEY) if provider == "claude" else ("authorization", f"Bearer {KEY}")
    assert f"{expected}?beta=true" == str(sent.url)
    assert [("anthropic-beta", "x"), (name, value), ("accept-encoding", "gzip, deflate")] == list(
        sent.headers
    )
