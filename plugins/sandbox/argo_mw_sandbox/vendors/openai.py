"""OpenAI: chat completions, responses and embeddings, with its limits in headers.

Protocol: https://platform.openai.com/docs/api-reference and the ``openai`` SDK's types.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping

from argo_mw_sandbox.quotas import Standing
from argo_mw_sandbox.vendors.chat import STREAM, Chat, Provider, forced
from argo_mw_sandbox.vendors.language import (
    JSON,
    Cached,
    ModelReply,
    Prompt,
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

_INVALID = "invalid_request_error"
_TOKENS_PER_REQUEST = 2_000
_CACHE_SECONDS = 1_800.0


def _error(status: int, message: str, code: str | None, kind: str = _INVALID) -> Answer:
    return failure(
        status, {"error": {"message": message, "type": kind, "param": None, "code": code}}
    )


OPENAI = Provider(
    "openai",
    ("gpt-", "o", "text-embedding-"),
    {
        "unauthorized": _error(401, "Incorrect API key provided.", "invalid_api_key"),
        "bad_request": _error(400, "Missing required parameter: 'input'.", "missing_parameter"),
        "no_model": _error(404, "The model does not exist.", "model_not_found"),
        "rate_limit": _error(429, "Rate limit reached.", "rate_limit_exceeded", "requests"),
        "insufficient_quota": _error(
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
            "insufficient_quota",
        ),
        "server_error": _error(500, "The server had an error.", None, "server_error"),
        "overloaded": _error(503, "The engine is overloaded.", None, "server_error"),
    },
    unknown_model="no_model",
    least_cached=1024,
)


class OpenAi(Chat):
    """OpenAI."""

    def headers(self, standing: Standing, now: float) -> Mapping[str, str]:
        """Return ``x-ratelimit-*``; tokens in proportion to requests."""
        limit = standing.limit or 10_000
        remaining = standing.remaining if standing.limit else limit
        headers: dict[str, str] = {"x-request-id": "req_5f2c1b"}
        for kind, factor in (("requests", 1), ("tokens", _TOKENS_PER_REQUEST)):
            headers[f"x-ratelimit-limit-{kind}"] = str(limit * factor)
            headers[f"x-ratelimit-remaining-{kind}"] = str(remaining * factor)
            headers[f"x-ratelimit-reset-{kind}"] = _duration(standing.reset)
        return headers

    def answer(self, request: VendorRequest, twist: str = "") -> Answer:
        """Return a completion, a response, or embeddings."""
        if request.path.endswith("/responses"):
            return self._response(request, twist)
        if request.path.endswith("/batches"):
            return Answer(b'{"id":"batch_01","object":"batch","status":"validating"}')
        return super().answer(request, twist)

    def _response(self, request: VendorRequest, twist: str) -> Answer:
        body = read_body(request)
        model = body.get("model")
        if not isinstance(model, str) or not body.get("input"):
            return self.errors["bad_request"]
        if not model.startswith(OPENAI.models):
            return self.errors["no_model"]
        prompt = _read(model, body)
        cached = self._cache.use(
            model, prompt.blocks, len(prompt.blocks), OPENAI.least_cached, _CACHE_SECONDS
        )
        made = reply(prompt, twist)
        usage = Usage(cached.fresh, made.tokens, cached.written, cached.read)
        whole = _whole(model, zlib.crc32(request.body), made, cached, body)
        if body.get("stream") is True:
            stream = tuple(_stream(whole, made))
            return Answer(b"", content_type=STREAM, usage=usage, stream=stream)
        return Answer(json.dumps(whole).encode(), usage=usage)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60.0)
    return f"{int(minutes)}m{rest:.3f}s" if minutes else f"{rest:.3f}s"


def _read(model: str, body: JSON) -> Prompt:
    items = body["input"]
    messages = as_list(items) or [{"role": "user", "content": items}]
    tools = as_list(body.get("tools"))
    system = text_of(body.get("instructions"))
    blocks = [json.dumps(tool, sort_keys=True) for tool in tools]
    blocks += [system] * bool(system)
    blocks += [text_of(m.get("content") or m.get("output")) for m in messages]
    last = next((text_of(m.get("content")) for m in messages[::-1] if m.get("role") == "user"), "")
    form = as_dict(as_dict(body.get("text")).get("format")).get("type")
    return Prompt(
        model,
        tuple(blocks),
        last,
        as_int(body.get("max_output_tokens"), 4096),
        form in ("json_object", "json_schema") or asks_for_json(system + last),
        as_dict(body.get("reasoning")).get("effort") in ("low", "medium", "high"),
        forced(tools, body.get("tool_choice")),
    )


def _whole(model: str, number: int, made: ModelReply, cached: Cached, body: JSON) -> JSON:
    cut = made.stop == "length"
    return {
        "id": f"resp_{number:032x}",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "instructions": body.get("instructions"),
        "model": model,
        "output": list(_output(made, number)),
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "temperature": 1.0,
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": 1.0,
        "service_tier": "default",
        "store": body.get("store", True),
        "metadata": {},
        "usage": _usage(cached, made),
    }


def _usage(cached: Cached, made: ModelReply) -> JSON:
    prompt = cached.fresh + cached.written + cached.read
    thought = made.tokens - len(made.text) // 4 if made.thinking else 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": cached.read,
            "cache_write_tokens": cached.written,
        },
        "output_tokens": made.tokens,
        "output_tokens_details": {"reasoning_tokens": max(thought, 0)},
        "total_tokens": prompt + made.tokens,
    }


def _output(made: ModelReply, number: int) -> Iterator[JSON]:
    if made.thinking:
        summary = [{"type": "summary_text", "text": made.thinking}]
        yield {"type": "reasoning", "id": f"rs_{number:016x}", "summary": summary}
    if made.tool is not None:
        name, arguments = made.tool
        yield {
            "type": "function_call",
            "id": f"fc_{number:016x}",
            "call_id": f"call_{number:016x}",
            "name": name,
            "arguments": json.dumps(arguments),
            "status": "completed",
        }
        return
    part: JSON = {"type": "output_text", "text": made.text, "annotations": []}
    if made.stop == "refusal":
        part = {"type": "refusal", "refusal": made.text}
    yield {
        "type": "message",
        "id": f"msg_{number:016x}",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


def _stream(whole: JSON, made: ModelReply) -> Iterator[Piece]:
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    count = 0

    def event(kind: str, content: JSON, wait: float = 0.0) -> Piece:
        nonlocal count
        data = json.dumps({"type": kind, "sequence_number": count, **content})
        count += 1
        return Piece(f"event: {kind}\ndata: {data}\n\n".encode(), wait)

    yield event("response.created", {"response": begun})
    yield event("response.in_progress", {"response": begun})
    for index, item in enumerate(as_list(whole["output"])):
        yield event("response.output_item.added", {"output_index": index, "item": item})
        parts = as_list(item.get("content"))
        if item.get("type") == "message" and parts[0].get("type") == "output_text":
            at: JSON = {"item_id": item["id"], "output_index": index, "content_index": 0}
            empty = {**parts[0], "text": ""}
            yield event("response.content_part.added", {**at, "part": empty})
            texts = pieces(made.text)
            for text in texts:
                delta = {**at, "delta": text, "logprobs": []}
                yield event("response.output_text.delta", delta, wait=1 / len(texts))
            done = {**at, "text": made.text, "logprobs": []}
            yield event("response.output_text.done", done)
            yield event("response.content_part.done", {**at, "part": parts[0]})
        yield event("response.output_item.done", {"output_index": index, "item": item})
    yield event(f"response.{whole['status']}", {"response": whole})


def openai(world: World) -> OpenAi:
    """OpenAI."""
    return OpenAi(world, OPENAI)
