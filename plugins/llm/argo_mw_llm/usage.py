"""Usage: the providers' own counts, brought into one form.

They are bills, so they are read with care: what is not a whole number of tokens that a request
can have taken is no count, and never lowers what is held for the request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from argo_mw_llm.answers import Usage
from argo_mw_llm.foreign_json import read_json
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
_MAX_COUNT = 100_000_000
"""Tokens of one kind in one request at most: a hundred times what any model takes."""

_RAN_TOOL = re.compile(rb'"type": ?"(?:mcp|server)_tool_use"')
"""A block of Claude's answer. Inside of a text, its quotation marks are escaped."""


def parse(content: bytes) -> object:
    """Return the JSON in *content*.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return read_json(content)  # which is slower, and takes half surrogate pairs and NaN


def plain_counts(counts: object) -> object:
    """Return an SDK's object of counts as plain data; whatever else came stays what it is."""
    to_dict = getattr(counts, "to_dict", None)
    return to_dict() if callable(to_dict) else counts


def claude_usage(counts: object) -> Usage | None:
    """Read Anthropic's ``usage``; cache writes without a lifetime are for five minutes.

    Returns ``None`` where there is none that can be.
    """
    found = _claude_counts(counts, ("input_tokens", "output_tokens"))
    return found if found is not None and found.prompt else None


def chat_usage(counts: object) -> Usage | None:
    """Read an OpenAI-compatible ``usage``, whose prompt tokens include the cached ones.

    Returns ``None`` where there is none that can be.
    """
    if not isinstance(counts, Mapping):
        return None
    try:
        prompt, output = (_count(counts, n, True) for n in ("prompt_tokens", "completion_tokens"))
        read = _count(counts.get("prompt_tokens_details"), "cached_tokens")
        read = min(prompt, max(read, _count(counts, "prompt_cache_hit_tokens")))
    except ValueError:
        return None
    return Usage(input=prompt - read, output=output, read=read) if prompt else None


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
        usage = claude_usage(counts)
        stop = str(body.get("stop_reason"))
        return usage, model, _claude_stop(stop, content)
    usage = chat_usage(counts)
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
            event = read_json(line[5:])
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def _claude_event(event: Mapping[str, object], ending: Ending) -> None:
    message = event.get("message")
    if event.get("type") == "message_start" and isinstance(message, Mapping):
        counts = message.get("usage")
        ending.model = str(message.get("model") or ending.model)
        claude_start(ending, counts)
    elif event.get("type") == "message_delta":
        counts, delta = event.get("usage"), event.get("delta")
        claude_ending(
            ending, counts, delta.get("stop_reason") if isinstance(delta, Mapping) else ""
        )


def claude_start(ending: Ending, counts: object) -> None:
    """Take up the first counts of Anthropic's stream."""
    ending.usage = _claude_counts(counts, ("input_tokens", "output_tokens"))
    ending.miscounted = ending.usage is None


def claude_ending(ending: Ending, counts: object, stop: object) -> None:
    """Take up the last counts of Anthropic's stream, which repeat the first ones or leave them."""
    start, last = ending.usage, _claude_counts(counts, ("output_tokens",))
    if last is not None and not ending.miscounted:
        start = start or Usage()
        last = Usage(
            last.input or start.input,
            last.output,
            last.write_5m or start.write_5m,
            last.write_1h or start.write_1h,
            last.read or start.read,
        )
    ending.miscounted = ending.miscounted or last is None or not last.prompt
    ending.usage = None if ending.miscounted else last
    if isinstance(stop, str) and stop:
        ending.stop = CLAUDE_STOPS.get(stop, stop)


def chat_counts(ending: Ending, counts: object) -> None:
    """Take up the counts of a chat completion's stream; the last ones hold."""
    ending.usage = chat_usage(counts)
    ending.miscounted = ending.usage is None


def _chat_event(event: Mapping[str, object], ending: Ending) -> None:
    counts = event.get("usage")
    ending.model = str(event.get("model") or ending.model)
    if counts is not None:
        chat_counts(ending, counts)
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


def _claude_counts(counts: object, required: Sequence[str]) -> Usage | None:
    if not isinstance(counts, Mapping):
        return None
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens")
    try:
        input_, output, read = (_count(counts, name, name in required) for name in names)
        written = _count(counts, "cache_creation_input_tokens")
        hour = _count(counts.get("cache_creation"), "ephemeral_1h_input_tokens")
    except ValueError:
        return None
    return Usage(input_, output, max(0, written - hour), hour, read)


def _count(counts: object, name: str, required: bool = False) -> int:
    """Return the count called *name*, 0 where it is absent.

    Raises:
        ValueError: It is not a number of tokens, or is required and absent.
    """
    value = counts.get(name) if isinstance(counts, Mapping) else None
    if type(value) is int or (type(value) is float and value.is_integer()):
        if 0 <= value <= _MAX_COUNT:
            return int(value)
    elif value is None and not required:
        return 0
    msg = f"{name} is {value!r:.40}, which is no number of tokens"
    raise ValueError(msg)
