"""Requests to models in the plugin's own form, and the bodies that providers expect."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from attrs import frozen

from argo_mw_llm.costs.estimate import rough_prompt
from argo_mw_llm.providers.profiles import Profile

JSON = Mapping[str, object]


@frozen(eq=False)
class ModelRequest:
    """A request to a model.

    Attributes:
        model: The model.
        messages: The conversation: mappings with ``role`` (``user``, ``assistant``, ``tool``)
            and ``content``; an assistant's may have ``tool_calls``, a tool's has
            ``tool_call_id``.
        system: The system prompt.
        tools: Mappings with ``name``, ``description`` and ``parameters``, a JSON schema.
        tool_choice: ``auto``, ``any``, ``none``, a tool's name, or "".
        schema: A JSON schema that the answer must match, or ``None``.
        temperature: Sampling, or ``None`` for the model's default.
        top_p: Sampling, or ``None`` for the model's default.
        max_tokens: The most tokens of the answer.
        thinking: Whether it thinks before it answers, or ``None`` for the model's default.
        prompt_cache_ttl: For how long the provider shall cache the prompt (``5m``, ``1h``), or "".
        rough: About how many tokens the prompt has.
        inserted: Fields of the provider's own that are added because a budget needs them.
    """

    model: str
    messages: tuple[JSON, ...]
    system: str = ""
    tools: tuple[JSON, ...] = ()
    tool_choice: str = ""
    schema: JSON | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int = 1024
    thinking: bool | None = None
    prompt_cache_ttl: str = ""
    rough: int = 0
    inserted: Mapping[str, object] = {}

    @classmethod
    def of(cls, parameters: Mapping[str, object], model: str) -> ModelRequest:
        """Return the request with the parameters of the operation ``complete``."""
        names = ("system", "tool_choice", "schema", "temperature", "top_p", "max_tokens")
        given = {name: parameters[name] for name in (*names, "thinking", "prompt_cache_ttl")}
        return cls(
            model=model,
            messages=tuple(cast("Sequence[JSON]", parameters["messages"])),
            tools=tuple(cast("Sequence[JSON]", parameters["tools"])),
            rough=rough_prompt(parameters),
            **given,  # type: ignore[arg-type]
        )


def for_messages(request: ModelRequest) -> dict[str, object]:
    """Return the body of Anthropic's Messages API: https://docs.claude.com/en/api/messages."""
    body: dict[str, object] = {
        "model": request.model,
        "max_tokens": request.max_tokens,
        "messages": [_messages_message(message) for message in request.messages],
    }
    if request.system:
        body["system"] = request.system
    if request.tools:
        body["tools"] = [
            {
                "name": t["name"],
                "description": t.get("description", ""),
                "input_schema": t.get("parameters", {"type": "object"}),
            }
            for t in request.tools
        ]
        if request.tool_choice:
            plain = request.tool_choice in ("auto", "any", "none")
            body["tool_choice"] = (
                {"type": request.tool_choice}
                if plain
                else {"type": "tool", "name": request.tool_choice}
            )
    if request.schema is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": dict(request.schema)}}
    if request.thinking is not None:
        body["thinking"] = {"type": "adaptive" if request.thinking else "disabled"}
    if request.prompt_cache_ttl:
        body["cache_control"] = {"type": "ephemeral", "ttl": request.prompt_cache_ttl}
    # The SDK's create() no longer accepts sampling; the API does, for models that sample.
    sampling = {n: v for n in ("temperature", "top_p") if (v := getattr(request, n)) is not None}
    if sampling:
        body["extra_body"] = sampling
    return body


def for_chat(request: ModelRequest, profile: Profile) -> dict[str, object]:
    """Return the body of an OpenAI-compatible chat completion of the provider of *profile*."""
    system = request.system
    if request.schema is not None:
        schema = json.dumps(request.schema, ensure_ascii=False)
        system = f"{system}\n\nAnswer with JSON only, by this schema: {schema}".lstrip()
    messages = [_chat_message(message) for message in request.messages]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    body: dict[str, object] = {
        "model": request.model,
        "messages": messages,
        profile.limiting.field: request.max_tokens,
    }
    if request.tools:
        body["tools"] = [{"type": "function", "function": dict(tool)} for tool in request.tools]
        if request.tool_choice:
            named = {"type": "function", "function": {"name": request.tool_choice}}
            words: dict[str, object] = {"auto": "auto", "any": "required", "none": "none"}
            body["tool_choice"] = words.get(request.tool_choice, named)
    if request.schema is not None:
        body["response_format"] = {"type": "json_object"}
    body |= {n: v for n in ("temperature", "top_p") if (v := getattr(request, n)) is not None}
    extra = dict(request.inserted)
    if request.thinking is not None and profile.thinking:
        extra |= _THINKING[profile.thinking](request.thinking)
    if extra:
        body["extra_body"] = extra
    return body


_THINKING: Mapping[str, Callable[[bool], dict[str, object]]] = {
    "type": lambda thinks: {"thinking": {"type": "enabled" if thinks else "disabled"}},
    "enable_thinking": lambda thinks: {"enable_thinking": thinks},
    "reasoning_effort": lambda thinks: {"reasoning_effort": _effort(thinks)},
}


def _effort(thinks: bool) -> str:
    return "medium" if thinks else "none"


def for_responses(request: ModelRequest) -> dict[str, object]:
    """Return the body of OpenAI's Responses API: https://platform.openai.com/docs/api-reference."""
    body: dict[str, object] = {
        "model": request.model,
        "input": [item for message in request.messages for item in _items(message)],
        "max_output_tokens": request.max_tokens,
        # Otherwise the provider would store the answer, and nothing would delete it.
        "store": False,
    }
    if request.system:
        body["instructions"] = request.system
    if request.tools:
        body["tools"] = [{"type": "function", "strict": False, **tool} for tool in request.tools]
        if request.tool_choice:
            named = {"type": "function", "name": request.tool_choice}
            words: dict[str, object] = {"auto": "auto", "any": "required", "none": "none"}
            body["tool_choice"] = words.get(request.tool_choice, named)
    if request.schema is not None:
        form = {"type": "json_schema", "name": "answer", "schema": dict(request.schema)}
        body["text"] = {"format": form}
    if request.thinking is not None:
        body["reasoning"] = {"effort": _effort(request.thinking)}
    body |= {n: v for n in ("temperature", "top_p") if (v := getattr(request, n)) is not None}
    if request.inserted:
        body["extra_body"] = dict(request.inserted)
    return body


def _items(message: JSON) -> list[dict[str, object]]:
    """Return *message* as items of a response's input."""
    role, content = message["role"], message.get("content")
    if role == "tool":
        call_id = message.get("tool_call_id", "")
        return [{"type": "function_call_output", "call_id": call_id, "output": content}]
    items: list[dict[str, object]] = [{"role": role, "content": content}] if content else []
    for call in cast("Sequence[JSON]", message.get("tool_calls") or ()):
        named = {name: call[name] for name in ("name", "arguments")}
        items.append({"type": "function_call", "call_id": call["id"], **named})
    return items


def _messages_message(message: JSON) -> dict[str, object]:
    role, content = message["role"], message.get("content")
    if role == "tool":
        result = {
            "type": "tool_result",
            "tool_use_id": message.get("tool_call_id", ""),
            "content": content,
        }
        return {"role": "user", "content": [result]}
    calls = cast("Sequence[JSON]", message.get("tool_calls") or ())
    if not calls:
        return {"role": role, "content": content}
    blocks: list[object] = [{"type": "text", "text": content}] if content else []
    blocks += [
        {
            "type": "tool_use",
            "id": c["id"],
            "name": c["name"],
            "input": json.loads(str(c["arguments"]) or "{}"),
        }
        for c in calls
    ]
    return {"role": role, "content": blocks}


def _chat_message(message: JSON) -> dict[str, object]:
    calls = cast("Sequence[JSON]", message.get("tool_calls") or ())
    if not calls:
        return dict(message)
    plain = [
        {
            "id": c["id"],
            "type": "function",
            "function": {"name": c["name"], "arguments": c["arguments"]},
        }
        for c in calls
    ]
    return {**message, "tool_calls": plain}
