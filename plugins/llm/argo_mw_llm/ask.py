"""A question to a model, in the plugin's own form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

from attrs import frozen

from argo_mw_llm.estimate import rough_prompt

JSON = Mapping[str, object]


@frozen(eq=False)
class Ask:
    """What is asked of a model.

    Attributes:
        model: The model.
        messages: The conversation: mappings with ``role`` (``user``, ``assistant``, ``tool``)
            and ``content``; an assistant's may have ``tool_calls``, a tool's has
            ``tool_call_id``.
        system: The system prompt.
        tools: Mappings with ``name``, ``description`` and ``parameters``, a JSON schema.
        tool_choice: ``auto``, ``any``, ``none``, a tool's name, or "".
        schema: A JSON schema that the answer keeps, or ``None``.
        temperature: Sampling, or ``None`` for the model's own.
        top_p: Sampling, or ``None`` for the model's own.
        max_tokens: The answer's length at most.
        thinking: Whether it thinks before it answers, or ``None`` for the model's own way.
        repeats: For how long the prompt will be sent again (``5m``, ``1h``), or "".
        rough: About how many tokens the prompt has.
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
    repeats: str = ""
    rough: int = 0

    @classmethod
    def of(cls, parameters: Mapping[str, object], model: str) -> Ask:
        """The question in the parameters of the operation ``complete``."""
        names = ("system", "tool_choice", "schema", "temperature", "top_p", "max_tokens")
        told = {name: parameters[name] for name in (*names, "thinking", "repeats")}
        return cls(
            model=model,
            messages=tuple(cast("Sequence[JSON]", parameters["messages"])),
            tools=tuple(cast("Sequence[JSON]", parameters["tools"])),
            rough=rough_prompt(parameters),
            **told,  # type: ignore[arg-type]
        )


def for_claude(ask: Ask) -> dict[str, object]:
    """The body of Anthropic's Messages API: https://docs.claude.com/en/api/messages."""
    body: dict[str, object] = {
        "model": ask.model,
        "max_tokens": ask.max_tokens,
        "messages": [_claude_message(message) for message in ask.messages],
    }
    if ask.system:
        body["system"] = ask.system
    if ask.tools:
        body["tools"] = [
            {
                "name": t["name"],
                "description": t.get("description", ""),
                "input_schema": t.get("parameters", {"type": "object"}),
            }
            for t in ask.tools
        ]
        if ask.tool_choice:
            plain = ask.tool_choice in ("auto", "any", "none")
            body["tool_choice"] = (
                {"type": ask.tool_choice} if plain else {"type": "tool", "name": ask.tool_choice}
            )
    if ask.schema is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": dict(ask.schema)}}
    if ask.thinking is not None:
        body["thinking"] = {"type": "adaptive" if ask.thinking else "disabled"}
    if ask.repeats:
        body["cache_control"] = {"type": "ephemeral", "ttl": ask.repeats}
    # The SDK's create() takes no sampling any more; the API does, for models that sample.
    sampling = {n: v for n in ("temperature", "top_p") if (v := getattr(ask, n)) is not None}
    if sampling:
        body["extra_body"] = sampling
    return body


def for_chat(ask: Ask, provider: str) -> dict[str, object]:
    """The body of an OpenAI-compatible chat completion of *provider*."""
    system = ask.system
    if ask.schema is not None:
        told = json.dumps(ask.schema, ensure_ascii=False)
        system = f"{system}\n\nAnswer with JSON only, by this schema: {told}".lstrip()
    messages = [_chat_message(message) for message in ask.messages]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    body: dict[str, object] = {
        "model": ask.model,
        "messages": messages,
        "max_tokens": ask.max_tokens,
    }
    if ask.tools:
        body["tools"] = [{"type": "function", "function": dict(tool)} for tool in ask.tools]
        if ask.tool_choice:
            named = {"type": "function", "function": {"name": ask.tool_choice}}
            words: dict[str, object] = {"auto": "auto", "any": "required", "none": "none"}
            body["tool_choice"] = words.get(ask.tool_choice, named)
    if ask.schema is not None:
        body["response_format"] = {"type": "json_object"}
    body |= {n: v for n in ("temperature", "top_p") if (v := getattr(ask, n)) is not None}
    if ask.thinking is not None:
        body["extra_body"] = (
            {"enable_thinking": ask.thinking}
            if provider == "qwen"
            else {"thinking": {"type": "enabled" if ask.thinking else "disabled"}}
        )
    return body


def _claude_message(message: JSON) -> dict[str, object]:
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
    told = [
        {
            "id": c["id"],
            "type": "function",
            "function": {"name": c["name"], "arguments": c["arguments"]},
        }
        for c in calls
    ]
    return {**message, "tool_calls": told}
