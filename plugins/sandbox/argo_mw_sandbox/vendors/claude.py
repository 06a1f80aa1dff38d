"""Anthropic's Messages API.

Protocol: https://docs.claude.com/en/api/messages and the ``anthropic`` SDK's types.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from argo_mw_sandbox.quotas import Standing
from argo_mw_sandbox.vendors.language import (
    HOUR,
    JSON,
    MINUTES_5,
    TWISTS,
    Cached,
    ModelReply,
    Prompt,
    PromptCache,
    as_dict,
    as_int,
    as_list,
    asks_for_json,
    pieces,
    read_body,
    reply,
    text_of,
)
from argo_mw_sandbox.vendors.protocol import Answer, Piece, Usage, VendorRequest, World, failure

STOPS = {"end": "end_turn", "length": "max_tokens", "tool": "tool_use", "refusal": "refusal"}
LEAST_CACHED = {"claude-sonnet-5": 1024, "claude-sonnet-4-5": 1024, "claude-sonnet-4-6": 1024}
LEAST_CACHED |= {"claude-haiku-4-5": 4096}
DEFAULT_LEAST_CACHED = 512
DATED = re.compile(r"-20\d{6}$")
REQUEST_ID = "req_018EeWyXxfu5pfWkrYcMdjWG"
STREAM = "text/event-stream; charset=utf-8"
OUTPUT_TOKENS_PER_REQUEST = 800
INPUT_TOKENS_PER_REQUEST = 2000


def _error(
    status: int, kind: str, message: str, headers: Mapping[str, str] | None = None
) -> Answer:
    content = {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": REQUEST_ID,
    }
    return failure(status, content, {"request-id": REQUEST_ID, **(headers or {})})


def _event(kind: str, content: JSON) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **content})}\n\n".encode()


OVERLOADED = {"error": {"type": "overloaded_error", "message": "Overloaded"}}
RATE_LIMIT = (
    "This request would exceed your organization's rate limit of 50 requests per minute. For "
    "details, refer to: https://docs.claude.com/en/api/rate-limits."
)
NO_CREDIT = (
    "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to "
    "upgrade or purchase credits."
)


class Claude:
    """Anthropic's Messages.

    Args:
        world: What it lives in.
    """

    name = "claude"
    errors: Mapping[str, Answer] = {
        "unauthorized": _error(401, "authentication_error", "invalid x-api-key"),
        "bad_request": _error(400, "invalid_request_error", "messages: Field required"),
        "no_credit": _error(400, "invalid_request_error", NO_CREDIT),
        "billing": _error(402, "billing_error", NO_CREDIT),
        "forbidden": _error(
            403,
            "permission_error",
            "Your API key does not have permission to use the specified resource.",
        ),
        "not_found": _error(404, "not_found_error", "model: claude-none"),
        "too_large": _error(413, "request_too_large", "Request exceeds the maximum size"),
        "rate_limit": _error(429, "rate_limit_error", RATE_LIMIT, {"retry-after": "1"}),
        "server_error": _error(500, "api_error", "Internal server error"),
        "timeout": _error(504, "timeout_error", "Request timed out"),
        "overloaded": _error(529, "overloaded_error", "Overloaded"),
        "stream_error": Answer(
            b"",
            content_type=STREAM,
            error=True,
            stream=(
                Piece(_event("ping", {})),
                Piece(_event("error", dict(OVERLOADED))),
            ),
        ),
        "garbage": Answer(b'{"id":"msg_01","type":"mess', error=True),
    }
    twists = TWISTS

    def __init__(self, world: World) -> None:
        self._world = world
        self._cache = PromptCache()

    def key(self, request: VendorRequest) -> str:
        """Return the key, or a bearer token."""
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return request.headers.get("X-Api-Key", "") or bearer

    def is_public(self, request: VendorRequest) -> bool:
        """Return whether it needs no key: none does."""
        return False

    def symbols(self, request: VendorRequest) -> tuple[str, ...]:
        """Return the model."""
        model = read_body(request).get("model")
        return (model,) if isinstance(model, str) else ()

    def exceeded(self, standing: Standing) -> Answer:
        """429 with ``retry-after``."""
        seconds = str(max(math.ceil(standing.reset), 1))
        return _error(429, "rate_limit_error", RATE_LIMIT, {"retry-after": seconds})

    def headers(self, standing: Standing, now: float) -> Mapping[str, str]:
        """Return ``anthropic-ratelimit-*``; tokens in proportion to requests."""
        limit = standing.limit or 4000
        remaining = standing.remaining if standing.limit else limit
        reset = datetime.fromtimestamp(math.ceil(now + standing.reset), UTC)
        headers = {"request-id": REQUEST_ID}
        for kind, factor in (
            ("requests", 1),
            ("input-tokens", INPUT_TOKENS_PER_REQUEST),
            ("output-tokens", OUTPUT_TOKENS_PER_REQUEST),
        ):
            headers[f"anthropic-ratelimit-{kind}-limit"] = str(limit * factor)
            headers[f"anthropic-ratelimit-{kind}-remaining"] = str(remaining * factor)
            headers[f"anthropic-ratelimit-{kind}-reset"] = f"{reset:%Y-%m-%dT%H:%M:%SZ}"
        return headers

    def answer(self, request: VendorRequest, twist: str = "") -> Answer:
        """Return a message, whole or streamed, or a count of tokens."""
        body = read_body(request)
        if request.path not in ("/v1/messages", "/v1/messages/count_tokens"):
            return _error(404, "not_found_error", "Not Found")
        wrong = _mistake(body, counting=request.path.endswith("count_tokens"))
        if wrong is not None:
            return wrong
        prompt = _read(body)
        if request.path.endswith("count_tokens"):
            tokens = self._cache.use("", prompt.blocks, 0, 0, 0.0).fresh
            return Answer(json.dumps({"input_tokens": tokens}).encode())
        cached = self._use_cache(body, prompt)
        made = reply(prompt, twist)
        usage = Usage(cached.fresh, made.tokens, cached.written, cached.read)
        number = zlib.crc32(request.body)
        if body.get("stream") is True:
            stream = tuple(_stream(prompt.model, number, made, cached))
            return Answer(b"", content_type=STREAM, usage=usage, stream=stream)
        message = _message(prompt.model, number, made, cached)
        return Answer(json.dumps(message).encode(), usage=usage)

    def _use_cache(self, body: JSON, prompt: Prompt) -> Cached:
        marked, seconds = _breakpoint(body)
        least = LEAST_CACHED.get(DATED.sub("", prompt.model), DEFAULT_LEAST_CACHED)
        return self._cache.use(prompt.model, prompt.blocks, marked, least, seconds)


def _mistake(body: JSON, *, counting: bool) -> Answer | None:
    for name, kind in (("model", str), ("messages", list), ("max_tokens", int)):
        if counting and name == "max_tokens":
            continue
        if not isinstance(body.get(name), kind):
            return _error(400, "invalid_request_error", f"{name}: Field required")
    if not body["messages"]:
        return _error(400, "invalid_request_error", "messages: at least one message is required")
    model = str(body["model"])
    if not model.startswith("claude-"):
        return _error(404, "not_found_error", f"model: {model}")
    return None


def _read(body: JSON) -> Prompt:
    tools, messages = as_list(body.get("tools")), as_list(body.get("messages"))
    system = text_of(body.get("system"))
    blocks = [_without_marks(block) for block in _blocks(body)]
    last = next((text_of(m.get("content")) for m in messages[::-1] if m.get("role") == "user"), "")
    schema = as_dict(as_dict(body.get("output_config")).get("format"))
    choice = as_dict(body.get("tool_choice"))
    forced = choice.get("type") in ("any", "tool")
    named = [t for t in tools if choice.get("name") in (None, t.get("name"))]
    tool = (
        (str(named[0]["name"]), as_dict(named[0].get("input_schema"))) if forced and named else None
    )
    return Prompt(
        str(body["model"]),
        tuple(blocks),
        last,
        as_int(body.get("max_tokens"), 4096),
        bool(schema) or asks_for_json(system + last),
        as_dict(body.get("thinking")).get("type") in ("enabled", "adaptive"),
        tool,
    )


def _blocks(body: JSON) -> Iterator[object]:
    """Return tools, system and messages, block by block: the order in which the cache sees them."""
    yield from as_list(body.get("tools"))
    system = body.get("system")
    if system:
        yield from system if isinstance(system, list) else [system]
    for message in as_list(body.get("messages")):
        content = message.get("content")
        yield from content if isinstance(content, list) else [content]


def _without_marks(block: object) -> str:
    if isinstance(block, dict):
        block = {name: value for name, value in block.items() if name != "cache_control"}
    return text_of(block)


def _breakpoint(body: JSON) -> tuple[int, float]:
    """Return how many blocks may be cached, and for how long."""
    blocks = list(_blocks(body))
    top = body.get("cache_control")
    if top:
        return len(blocks), _lifetime(top)
    for at in range(len(blocks), 0, -1):
        mark = as_dict(blocks[at - 1]).get("cache_control")
        if mark:
            return at, _lifetime(mark)
    return 0, 0.0


def _lifetime(mark: object) -> float:
    return HOUR if as_dict(mark).get("ttl") == "1h" else MINUTES_5


def _usage(cached: Cached, tokens: int) -> JSON:
    return {
        "input_tokens": cached.fresh,
        "cache_creation_input_tokens": cached.written,
        "cache_read_input_tokens": cached.read,
        "output_tokens": tokens,
        "service_tier": "standard",
    }


def _content(made: ModelReply, number: int) -> list[JSON]:
    content: list[JSON] = []
    if made.thinking:
        content.append({"type": "thinking", "thinking": made.thinking, "signature": "c2FuZGJveA=="})
    if made.text:
        content.append({"type": "text", "text": made.text})
    if made.tool is not None:
        name, arguments = made.tool
        content.append(
            {"type": "tool_use", "id": f"toolu_{number:024x}", "name": name, "input": arguments}
        )
    return content


def _message(model: str, number: int, made: ModelReply, cached: Cached) -> JSON:
    return {
        "id": f"msg_{number:024x}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": _content(made, number),
        "stop_reason": STOPS[made.stop],
        "stop_sequence": None,
        "usage": _usage(cached, made.tokens),
    }


def _stream(model: str, number: int, made: ModelReply, cached: Cached) -> Iterator[Piece]:
    start = _message(model, number, ModelReply("", "end", 0), cached)
    start |= {"content": [], "stop_reason": None, "usage": _usage(cached, 1)}
    yield Piece(_event("message_start", {"message": start}) + _event("ping", {}))
    for index, block in enumerate(_content(made, number)):
        yield from _stream_block(index, block)
    delta = {"stop_reason": STOPS[made.stop], "stop_sequence": None}
    ending = {"delta": delta, "usage": _usage(cached, made.tokens)}
    yield Piece(_event("message_delta", dict(ending)) + _event("message_stop", {}))


def _stream_block(index: int, block: JSON) -> Iterator[Piece]:
    kind = str(block["type"])
    if kind == "tool_use":
        begun: JSON = {**block, "input": {}}
        deltas: list[JSON] = [
            {"type": "input_json_delta", "partial_json": part}
            for part in pieces(json.dumps(block["input"]))
        ]
    elif kind == "thinking":
        begun = {"type": kind, "thinking": "", "signature": ""}
        deltas = [
            {"type": "thinking_delta", "thinking": part} for part in pieces(str(block["thinking"]))
        ]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    else:
        begun = {"type": kind, "text": ""}
        deltas = [{"type": "text_delta", "text": part} for part in pieces(str(block["text"]))]
    yield Piece(_event("content_block_start", {"index": index, "content_block": begun}))
    for delta in deltas:
        event = _event("content_block_delta", {"index": index, "delta": delta})
        yield Piece(event, wait=1 / len(deltas))
    yield Piece(_event("content_block_stop", {"index": index}))
