"""OpenAI-compatible chat: DeepSeek, Qwen and GLM, which differ in their errors and their usage.

Protocols: https://api-docs.deepseek.com, https://www.alibabacloud.com/help/model-studio,
https://docs.z.ai/api-reference.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping

from attrs import frozen

from argo_mw_sandbox.quotas import Standing
from argo_mw_sandbox.vendors.embeddings import embed
from argo_mw_sandbox.vendors.language import (
    JSON,
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

STOPS = {"end": "stop", "length": "length", "tool": "tool_calls", "refusal": "content_filter"}
STREAM = "text/event-stream"
CACHE_SECONDS = 600.0


@frozen
class Provider:
    """The peculiarities of one provider.

    Attributes:
        name: Its path prefix.
        models: How its models' names begin.
        errors: Its error bodies.
        unknown_model: The name of the error for a model that it does not have.
        least_cached: Prompt tokens below which its cache does nothing.
        always_usage: Whether a stream reports its usage unasked.
        embeds: Whether it has embeddings.
    """

    name: str
    models: tuple[str, ...]
    errors: Mapping[str, Answer]
    unknown_model: str
    least_cached: int
    always_usage: bool = False
    embeds: bool = True


class Chat:
    """One provider's chat completions.

    Args:
        world: What it lives in.
        provider: Its peculiarities.
    """

    twists = TWISTS

    def __init__(self, world: World, provider: Provider) -> None:
        self._world = world
        self._provider = provider
        self._cache = PromptCache()
        self.name = provider.name
        self.errors: Mapping[str, Answer] = {
            "stream_error": Answer(
                b"",
                content_type=STREAM,
                error=True,
                stream=(Piece(b"data: " + provider.errors["server_error"].body + b"\n\n"),),
            ),
            "garbage": Answer(b'{"id":"chatcmpl-01","obj', error=True),
            **provider.errors,
        }

    def key(self, request: VendorRequest) -> str:
        """Return the bearer token."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return token if scheme == "Bearer" else ""

    def is_public(self, request: VendorRequest) -> bool:
        """Return whether it needs no key: none does."""
        return False

    def symbols(self, request: VendorRequest) -> tuple[str, ...]:
        """Return the model."""
        model = read_body(request).get("model")
        return (model,) if isinstance(model, str) else ()

    def exceeded(self, standing: Standing) -> Answer:
        """429; one for the day's quota where the provider tells them apart."""
        daily = self.errors.get("daily_limit")
        return daily if standing.exceeded == "day" and daily else self.errors["rate_limit"]

    def headers(
        self,
        standing: Standing,
        now: float,
    ) -> Mapping[str, str]:
        """Return nothing: these providers report no quotas."""
        return {}

    def answer(self, request: VendorRequest, twist: str = "") -> Answer:
        """Return a completion, whole or streamed, or embeddings."""
        if request.path.endswith("/embeddings") and self._provider.embeds:
            return embed(request) or self.errors["bad_request"]
        if not request.path.endswith("/chat/completions"):
            return failure(404, {"error": {"message": "Not Found", "code": "404"}})
        body = read_body(request)
        model, messages = body.get("model"), as_list(body.get("messages"))
        if not isinstance(model, str) or not messages:
            return self.errors["bad_request"]
        if not model.startswith(self._provider.models):
            return self.errors[self._provider.unknown_model]
        prompt = _read(model, messages, body)
        blocks = len(prompt.blocks)
        cached = self._cache.use(
            model, prompt.blocks, blocks, self._provider.least_cached, CACHE_SECONDS
        )
        made = reply(prompt, twist)
        usage = Usage(cached.fresh + cached.written, made.tokens, 0, cached.read)
        number = zlib.crc32(request.body)
        created = int(self._world.clock.time())
        head: JSON = {"id": f"chatcmpl-{number:08x}", "created": created, "model": model}
        usage_body = _usage(cached, made, self._provider.name)
        if body.get("stream") is True:
            wanted = as_dict(body.get("stream_options")).get("include_usage") is True
            stream = _stream(head, made, usage_body, number, wanted, self._provider.always_usage)
            return Answer(b"", content_type=STREAM, usage=usage, stream=tuple(stream))
        choice = {
            "index": 0,
            "message": _message(made, number),
            "finish_reason": STOPS[made.stop],
            "logprobs": None,
        }
        whole = {**head, "object": "chat.completion", "choices": [choice], "usage": usage_body}
        return Answer(json.dumps(whole, ensure_ascii=False).encode(), usage=usage)


def _read(model: str, messages: list[JSON], body: JSON) -> Prompt:
    tools = [as_dict(tool.get("function")) for tool in as_list(body.get("tools"))]
    blocks = [json.dumps(tool, sort_keys=True) for tool in tools]
    blocks += [text_of(message.get("content")) for message in messages]
    last = next((text_of(m.get("content")) for m in messages[::-1] if m.get("role") == "user"), "")
    form = as_dict(body.get("response_format")).get("type")
    system = "".join(text_of(m.get("content")) for m in messages if m.get("role") == "system")
    limit = as_int(body.get("max_completion_tokens"), as_int(body.get("max_tokens"), 4096))
    return Prompt(
        model,
        tuple(blocks),
        last,
        limit,
        form in ("json_object", "json_schema") or asks_for_json(system + last),
        as_dict(body.get("thinking")).get("type") == "enabled"
        or body.get("enable_thinking") is True
        or "reasoner" in model,
        forced(tools, body.get("tool_choice")),
    )


def forced(tools: list[JSON], choice: object) -> tuple[str, JSON] | None:
    """Return the one of *tools* that must be called by *choice*, with its parameters, if any."""
    if not tools or not (choice == "required" or isinstance(choice, dict)):
        return None
    named = as_dict(choice)
    name = as_dict(named.get("function")).get("name") or named.get("name")
    tool = next((t for t in tools if name in (None, t.get("name"))), tools[0])
    return str(tool.get("name")), as_dict(tool.get("parameters"))


def _message(made: ModelReply, number: int) -> JSON:
    message: JSON = {"role": "assistant", "content": made.text}
    if made.thinking:
        message["reasoning_content"] = made.thinking
    if made.tool is not None:
        message |= {"content": None, "tool_calls": [_call(made.tool, number)]}
    return message


def _call(tool: tuple[str, JSON], number: int) -> JSON:
    name, arguments = tool
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": f"call_{number:08x}", "type": "function", "function": function}


def _usage(cached: Cached, made: ModelReply, name: str) -> JSON:
    prompt = cached.fresh + cached.written + cached.read
    usage_body: JSON = {
        "prompt_tokens": prompt,
        "completion_tokens": made.tokens,
        "total_tokens": prompt + made.tokens,
        "prompt_tokens_details": {"cached_tokens": cached.read},
    }
    if name == "deepseek":
        usage_body |= {
            "prompt_cache_hit_tokens": cached.read,
            "prompt_cache_miss_tokens": prompt - cached.read,
        }
    return usage_body


def _stream(
    head: JSON, made: ModelReply, usage_body: JSON, number: int, wanted: bool, always: bool
) -> Iterator[Piece]:
    def chunk(delta: JSON, stop: str | None = None, wait: float = 0.0, **more: object) -> Piece:
        choice = {"index": 0, "delta": delta, "finish_reason": stop, "logprobs": None}
        return _data({**head, "object": "chat.completion.chunk", "choices": [choice], **more}, wait)

    yield chunk({"role": "assistant", "content": ""})
    thoughts = pieces(made.thinking) if made.thinking else []
    texts = pieces(made.text) if made.text else []
    share = 1 / max(len(thoughts) + len(texts), 1)
    for part in thoughts:
        yield chunk({"reasoning_content": part}, wait=share)
    for part in texts:
        yield chunk({"content": part}, wait=share)
    if made.tool is not None:
        yield chunk({"tool_calls": [{"index": 0, **_call(made.tool, number)}]})
    if always:
        yield chunk({}, STOPS[made.stop], usage=usage_body)
    else:
        yield chunk({}, STOPS[made.stop])
    if wanted and not always:
        yield _data({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage_body})
    yield Piece(b"data: [DONE]\n\n")


def _data(content: JSON, wait: float = 0.0) -> Piece:
    return Piece(b"data: " + json.dumps(content, ensure_ascii=False).encode() + b"\n\n", wait)
