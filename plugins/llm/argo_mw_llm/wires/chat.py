"""The wire ``chat``: https://platform.openai.com/docs/api-reference/chat, and its older form."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import evolve

from argo_mw_llm.answers import Usage
from argo_mw_llm.bodies.streams import Ending
from argo_mw_llm.costs.bounds import (
    FRAME,
    Bound,
    Limiting,
    NoBoundError,
    check_fields,
    count_of,
    dearest_cache,
    prompt_size,
    size_of,
)
from argo_mw_llm.costs.counts import FREE, TIER, Counts, part_of
from argo_mw_llm.costs.known_fields import CHAT, COMPLETIONS
from argo_mw_llm.providers.words import word
from argo_mw_llm.wires.wire import JSON, Read, Wire, mappings

STOPS = {
    "stop": "end",
    "tool_calls": "tool",
    "content_filter": "refusal",
    "sensitive": "refusal",
}

COUNTS = Counts(
    {
        "prompt_tokens": "input",
        "completion_tokens": "output",
        "total_tokens": FREE,
        "prompt_tokens_details.cached_tokens": "read",
        "prompt_tokens_details.cache_write_tokens": "write_5m",
        "prompt_tokens_details.audio_tokens": "audio_in",
        # Text and images have one price.
        "prompt_tokens_details.image_tokens": FREE,
        "prompt_tokens_details.text_tokens": FREE,
        "prompt_cache_hit_tokens": "read",
        "prompt_cache_miss_tokens": FREE,
        "completion_tokens_details.reasoning_tokens": "thinking",
        "completion_tokens_details.audio_tokens": "audio_out",
        "completion_tokens_details.text_tokens": FREE,
        # Both are included in the sum, at its price.
        "completion_tokens_details.accepted_prediction_tokens": FREE,
        "completion_tokens_details.rejected_prediction_tokens": FREE,
    },
    ("prompt_tokens", "completion_tokens"),
)
"""``usage`` of an answer, and of the last chunk of a stream."""

TIERS = Counts({"service_tier": TIER})
"""The fields of an answer itself that change its price."""


class Chat(Wire):
    """OpenAI's chat completions, which many providers offer."""

    name = "chat"
    path = "/chat/completions"
    counts = COUNTS
    marks = (b'"usage"', b'"finish_reason":"', b'"finish_reason": "')
    last = b"[DONE]"
    last_event = re.compile(rb"(?:^|\n)data: ?\[DONE\][ \r]*\n")

    def read(self, body: JSON, content: bytes) -> Read:
        """Return usage, model and stop of the whole answer *body*; *content* is its bytes."""
        stop = ""
        for choice in mappings(body.get("choices")):
            stop = _stop(stop, word(choice.get("finish_reason")) or "None")
        usage = usage_of(body.get("usage"), body)
        return Read(usage, word(body.get("model")), stop or "None")

    def read_event(self, event: JSON, ending: Ending) -> None:
        """Add what *event* of a stream tells about its answer."""
        counts = event.get("usage")
        ending.model = word(event.get("model")) or ending.model
        if counts is not None:
            count(ending, counts, event)
        for choice in mappings(event.get("choices")):
            if stop := word(choice.get("finish_reason")):
                ending.stop = _stop(ending.stop, stop)

    def asking_for_usage(self, body: JSON) -> JSON:
        """Return the fields with which a stream for the request *body* would report its usage."""
        if body.get("stream") is not True:
            return {}
        options = body.get("stream_options")
        given = options if isinstance(options, Mapping) else {}
        if given.get("include_usage") is True:
            return {}
        return {"stream_options": {**given, "include_usage": True}}

    def reports_usage_alone(self, event: JSON) -> bool:
        """Return whether *event* of a stream only reports the usage that was asked for."""
        return event.get("choices") == [] and event.get("usage") is not None

    def limit(self, limiting: Limiting) -> str:
        """Return the field that limits the length of an answer."""
        return limiting.field

    def bound(self, body: JSON, limiting: Limiting) -> Bound:
        """Return the most that the request *body* may take.

        Raises:
            NoBoundError: It has none.
        """
        check_fields(body, CHAT)
        limits = [
            count_of(name, body.get(name)) for name in ("max_tokens", "max_completion_tokens")
        ]
        output = max((limit for limit in limits if limit is not None), default=None)
        choices = count_of("n", body.get("n")) or 1
        bound = Bound(
            prompt_size(body), output, 0, choices, dearest_cache(body), limit=limiting.field
        )
        if limiting.apart and body.get("enable_thinking") is not False:
            bound = evolve(bound, thinking=count_of("thinking_budget", body.get("thinking_budget")))
        if limits[0] is None and output is not None and limiting.field == "max_tokens":
            # Some providers do not know the newer name of the limit.
            bound = evolve(bound, inserted={"max_tokens": output})
        return bound


class Completions(Chat):
    """OpenAI's older completions, which continue a text."""

    name = "completions"
    path = "/completions"
    task = "text_completion"

    def bound(self, body: JSON, limiting: Limiting) -> Bound:
        """Return the most that the request *body* may take.

        Raises:
            NoBoundError: It has none.
        """
        check_fields(body, COMPLETIONS)
        output = count_of("max_tokens", body.get("max_tokens"))
        if output is None:
            msg = "it names no max_tokens"
            raise NoBoundError(msg)
        made = [count_of(name, body.get(name)) or 1 for name in ("n", "best_of")]
        prompts = body.get("prompt")
        # A prompt is a text or a list of tokens; a list of prompts is answered one by one.
        many = isinstance(prompts, list) and not all(isinstance(one, int) for one in prompts)
        choices = max(made) * (len(prompts) if many and isinstance(prompts, list) else 1)
        return Bound(FRAME + size_of(body), output, 0, choices)


def usage_of(counts: object, answer: JSON | None = None) -> Usage | None:
    """Read a ``usage``, whose prompt tokens include the cached ones.

    Args:
        counts: The usage.
        answer: The answer that it is of, which may name its tier.

    Returns ``None`` if it is missing or impossible.
    """
    found = COUNTS.read(counts)
    if found is None or not found["input"]:
        return None
    read, written, fresh = part_of(found["input"], found.get("read", 0), found.get("write_5m", 0))
    return Usage(
        fresh,
        found["output"],
        written,
        0,
        read,
        thinking=found.get("thinking", 0),
        audio_in=min(found.get("audio_in", 0), fresh),
        audio_out=min(found.get("audio_out", 0), found["output"]),
        tiers=TIERS.tiers(answer),
    )


def count(ending: Ending, counts: object, answer: JSON | None = None) -> None:
    """Take the counts of a stream; later ones replace earlier ones."""
    ending.usage = usage_of(counts, answer)
    ending.miscounted = ending.usage is None


def _stop(before: str, stop: str) -> str:
    """Return why an answer of several choices ended: the first reason that is not a proper end."""
    stop = STOPS.get(stop, stop)
    return stop if before in ("", "end") else before
