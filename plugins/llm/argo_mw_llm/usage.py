"""Usage: the providers' own counts, brought into one form."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

import msgspec

from argo_mw_llm.answers import Usage
from argo_mw_llm.streams import Ending

CLAUDE_STOPS = {
    "end_turn": "end",
    "stop_sequence": "end",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool",
}
CHAT_STOPS = {
    "stop": "end",
    "tool_calls": "tool",
    "content_filter": "refusal",
    "sensitive": "refusal",
}
_RAN_TOOL = re.compile(rb'"type": ?"(?:mcp|server)_tool_use"')
"""A block of Claude's answer. Inside of a text, its quotation marks are escaped."""


def parse(content: bytes) -> object:
    """Return the JSON in *content*.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        return json.loads(content)  # which is slower, and takes half surrogate pairs and NaN


def claude_usage(counts: Mapping[str, object]) -> Usage:
    """Read Anthropic's ``usage``; cache writes without a lifetime are for five minutes."""
    written = _int(counts, "cache_creation_input_tokens")
    split = counts.get("cache_creation")
    hour = _int(split, "ephemeral_1h_input_tokens") if isinstance(split, Mapping) else 0
    return Usage(
        input=_int(counts, "input_tokens"),
        output=_int(counts, "output_tokens"),
        write_5m=max(0, written - hour),
        write_1h=hour,
        read=_int(counts, "cache_read_input_tokens"),
    )


def chat_usage(counts: Mapping[str, object]) -> Usage:
    """Read an OpenAI-compatible ``usage``, whose prompt tokens include the cached ones."""
    prompt = _int(counts, "prompt_tokens")
    details = counts.get("prompt_tokens_details")
    read = _int(details, "cached_tokens") if isinstance(details, Mapping) else 0
    read = min(prompt, max(read, _int(counts, "prompt_cache_hit_tokens")))
    return Usage(input=prompt - read, output=_int(counts, "completion_tokens"), read=read)


def read_body(provider: str, content: bytes) -> tuple[Usage | None, str, str]:
    """Return usage, model and stop of a whole answer as it came over the wire.

    Raises:
        ValueError: It is damaged.
    """
    body = parse(content)
    if not isinstance(body, dict):
        msg = f"an answer of {provider} is no JSON object"
        raise ValueError(msg)  # noqa: TRY004 - the provider's doing, not the caller's
    counts = body.get("usage")
    model = str(body.get("model", ""))
    if provider == "claude":
        usage = claude_usage(counts) if isinstance(counts, Mapping) else None
        stop = str(body.get("stop_reason"))
        return usage, model, _claude_stop(stop, content)
    usage = chat_usage(counts) if isinstance(counts, Mapping) else None
    stop = ""
    for choice in _mappings(body.get("choices")):
        stop = _chat_stop(stop, str(choice.get("finish_reason")))
    return usage, model, stop or "None"


def read_events(provider: str, raw: bytes, ending: Ending) -> None:
    """Read from the bytes of a stream that has ended what the answer took.

    Only the few events with such figures are decoded.
    """
    marks = (b'"usage"', b'"finish_reason":"', b'"finish_reason": "')
    lines = (line for line in raw.splitlines() if line.startswith(b"data:"))
    events = _decoded(line for line in lines if any(mark in line for mark in marks))
    for event in events:
        (_claude_event if provider == "claude" else _chat_event)(event, ending)
    if provider == "claude":
        ending.stop = _claude_stop(ending.stop, raw)


def _decoded(lines: Iterable[bytes]) -> Iterable[Mapping[str, object]]:
    for line in lines:
        try:
            event = json.loads(line[5:])
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def _claude_event(event: Mapping[str, object], ending: Ending) -> None:
    message = event.get("message")
    if event.get("type") == "message_start" and isinstance(message, Mapping):
        counts = message.get("usage")
        ending.model = str(message.get("model") or ending.model)
        ending.usage = claude_usage(counts) if isinstance(counts, Mapping) else None
    elif event.get("type") == "message_delta":
        counts, delta = event.get("usage"), event.get("delta")
        claude_ending(
            ending, counts, delta.get("stop_reason") if isinstance(delta, Mapping) else ""
        )


def claude_ending(ending: Ending, counts: object, stop: object) -> None:
    """Take up the last counts of Anthropic's stream, which repeat the first ones or leave them."""
    start = ending.usage or Usage()
    if isinstance(counts, Mapping):
        last = claude_usage(counts)
        ending.usage = Usage(
            last.input or start.input,
            last.output,
            last.write_5m or start.write_5m,
            last.write_1h or start.write_1h,
            last.read or start.read,
        )
    if isinstance(stop, str) and stop:
        ending.stop = CLAUDE_STOPS.get(stop, stop)


def _chat_event(event: Mapping[str, object], ending: Ending) -> None:
    counts = event.get("usage")
    ending.model = str(event.get("model") or ending.model)
    if isinstance(counts, Mapping):
        ending.usage = chat_usage(counts)
    for choice in _mappings(event.get("choices")):
        stop = choice.get("finish_reason")
        if stop:
            ending.stop = _chat_stop(ending.stop, str(stop))


def _claude_stop(stop: str, raw: bytes) -> str:
    """Why an answer ended: tools that ran at the provider may have had side effects too."""
    stop = CLAUDE_STOPS.get(stop, stop)
    return "tool" if stop == "end" and _RAN_TOOL.search(raw) else stop


def _chat_stop(before: str, stop: str) -> str:
    """Why an answer of several choices ended: of those, the first that is no end."""
    stop = CHAT_STOPS.get(stop, stop)
    return stop if before in ("", "end") else before


def _mappings(counts: object) -> list[Mapping[str, object]]:
    return [one for one in counts if isinstance(one, Mapping)] if isinstance(counts, list) else []


def _int(counts: object, name: str) -> int:
    value = counts.get(name) if isinstance(counts, Mapping) else None
    return value if isinstance(value, int) else 0
