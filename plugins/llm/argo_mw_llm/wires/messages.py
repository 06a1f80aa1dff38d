"""The wire ``anthropic``: https://docs.claude.com/en/api/messages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from argo_mw_llm.answers import OtherUsage, Usage
from argo_mw_llm.bodies.streams import Ending
from argo_mw_llm.costs.bounds import (
    Bound,
    Limiting,
    NoBoundError,
    check_fields,
    count_of,
    dearest_cache,
    prompt_size,
)
from argo_mw_llm.costs.counts import FREE, TIER, Counts
from argo_mw_llm.costs.known_fields import MESSAGES
from argo_mw_llm.providers.words import word
from argo_mw_llm.wires.wire import JSON, Read, Wire, mappings

STOPS = {
    "end_turn": "end",
    "stop_sequence": "end",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool",
}
_RAN_TOOL = re.compile(rb'"type": ?"(?:mcp|server)_tool_use"')
"""The beginning of a block of an answer; within a text, its quotation marks would be escaped."""

_TOKENS = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_input_tokens": "read",
    "cache_creation_input_tokens": "written",
    "cache_creation.ephemeral_5m_input_tokens": "write_5m",
    "cache_creation.ephemeral_1h_input_tokens": "write_1h",
}
COUNTS = Counts(
    {
        **_TOKENS,
        "output_tokens_details.thinking_tokens": "thinking",
        "server_tool_use.web_search_requests": "searches",
        # Fetching a page costs only its tokens, which count as prompt.
        "server_tool_use.web_fetch_requests": FREE,
        "service_tier": TIER,
        "speed": TIER,
        "inference_geo": TIER,
        # It makes a retry cheaper, never more expensive.
        "fallback_credit.status.type": FREE,
        "fallback_credit.status.reason": FREE,
        "fallback_credit.status.remove_to_redeem": FREE,
    },
    ("input_tokens", "output_tokens"),
)
"""``usage`` of an answer, and of the last event of a stream."""

ITERATION = Counts({**_TOKENS, "type": FREE, "model": FREE}, ("input_tokens", "output_tokens"))
"""An entry of ``usage.iterations``."""

_BESIDE = ("compaction", "advisor_message")
"""Types of entries that the sums of a usage exclude."""

_FALLBACK = "fallback_message"
"""The type of the entry of a model that answered after others declined; the sums include it."""


class Messages(Wire):
    """Anthropic's messages."""

    name = "anthropic"
    path = "/v1/messages"
    counts = COUNTS
    marks = (b'"usage"',)
    last = b"message_stop"
    last_event = re.compile(rb"(?:^|\n)event: ?message_stop\r?\n")

    def read(self, body: JSON, content: bytes) -> Read:
        """Return usage, model and stop of the whole answer *body*; *content* is its bytes."""
        usage = usage_of(body.get("usage"))
        stop = _stop(word(body.get("stop_reason")) or "None", content)
        return Read(usage, word(body.get("model")), stop)

    def read_event(self, event: JSON, ending: Ending) -> None:
        """Add what *event* of a stream tells about its answer."""
        message = event.get("message")
        if event.get("type") == "message_start" and isinstance(message, Mapping):
            ending.model = word(message.get("model")) or ending.model
            begin(ending, message.get("usage"))
        elif event.get("type") == "message_delta":
            delta = event.get("delta")
            stop = delta.get("stop_reason") if isinstance(delta, Mapping) else ""
            end(ending, event.get("usage"), stop)

    def finish(self, ending: Ending, raw: bytes) -> None:
        """Add what only all bytes of a stream tell, once it has ended."""
        ending.stop = _stop(ending.stop, raw)

    def limit(self, limiting: Limiting) -> str:
        """Return the field that limits the length of an answer."""
        return "max_tokens"

    def bound(self, body: JSON, limiting: Limiting) -> Bound:
        """Return the most that the request *body* may take.

        Raises:
            NoBoundError: It has none.
        """
        check_fields(body, MESSAGES)
        output = count_of("max_tokens", body.get("max_tokens"))
        if output is None:
            msg = "it names no max_tokens"
            raise NoBoundError(msg)
        return Bound(prompt_size(body), output, _thinking(body), cached=dearest_cache(body))

    def is_alone(self, body: JSON) -> bool:
        """Return whether the request *body* continues in a container kept by the provider."""
        return bool(body.get("container"))


def usage_of(counts: object) -> Usage | None:
    """Read a ``usage``; cache writes without a lifetime are for five minutes.

    Returns ``None`` if it is missing or impossible.
    """
    found = _read(counts)
    return found if found is not None and found.prompt else None


def begin(ending: Ending, counts: object) -> None:
    """Take the first counts of a stream."""
    ending.usage = _read(counts)
    ending.miscounted = ending.usage is None


def end(ending: Ending, counts: object, stop: object) -> None:
    """Take the last counts of a stream, which repeat the first ones or omit them."""
    start, last = ending.usage, _read(counts, ("output_tokens",))
    if last is not None and not ending.miscounted:
        start = start or Usage()
        last = Usage(
            last.input or start.input,
            last.output,
            last.write_5m or start.write_5m,
            last.write_1h or start.write_1h,
            last.read or start.read,
            thinking=last.thinking or start.thinking,
            searches=last.searches or start.searches,
            tiers=last.tiers or start.tiers,
            others=last.others or start.others,
        )
    ending.miscounted = ending.miscounted or last is None or not last.prompt
    ending.usage = None if ending.miscounted else last
    if named := word(stop):
        ending.stop = STOPS.get(named, named)


def _read(counts: object, required: Sequence[str] | None = None) -> Usage | None:
    found = COUNTS.read(counts, required)
    if found is None or not isinstance(counts, Mapping):
        return None
    entries = mappings(counts.get("iterations"))
    served = next((one.get("model") for one in entries if one.get("type") == _FALLBACK), None)
    others: list[OtherUsage] = []
    for entry in entries:
        model = entry.get("model")
        declined = served is not None and model is not None and model != served
        if entry.get("type") in _BESIDE or declined:
            taken = ITERATION.read(entry)
            if taken is None:
                return None
            others.append(OtherUsage(word(model), _usage(taken)))
    return _usage(found, COUNTS.tiers(counts), tuple(others))


def _usage(
    found: Mapping[str, int],
    tiers: tuple[str, ...] = (),
    others: tuple[OtherUsage, ...] = (),
) -> Usage:
    hour = found.get("write_1h", 0)
    return Usage(
        found.get("input", 0),
        found.get("output", 0),
        max(found.get("write_5m", 0), found.get("written", 0) - hour),
        hour,
        found.get("read", 0),
        thinking=found.get("thinking", 0),
        searches=found.get("searches", 0),
        tiers=tiers,
        others=others,
    )


def _stop(stop: str, raw: bytes) -> str:
    """Return why an answer ended; tools that ran at the provider count as tool calls too."""
    stop = STOPS.get(stop, stop)
    return "tool" if stop == "end" and _RAN_TOOL.search(raw) else stop


def _thinking(body: JSON) -> int:
    """Return the thinking budget; interleaved with tools, it may exceed ``max_tokens``."""
    thinking = body.get("thinking")
    if not isinstance(thinking, Mapping):
        return 0
    return count_of("budget_tokens", thinking.get("budget_tokens")) or 0
