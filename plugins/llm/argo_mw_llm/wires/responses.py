"""The wire ``responses``: https://platform.openai.com/docs/api-reference/responses."""

from __future__ import annotations

import re
from collections.abc import Mapping

from argo_mw_llm.answers import OtherUsage, Usage
from argo_mw_llm.bodies.streams import Ending
from argo_mw_llm.costs.bounds import (
    FRAME,
    HIDDEN,
    Bound,
    Limiting,
    NoBoundError,
    check_fields,
    content_size,
    count_of,
    dearest_cache,
    list_of,
    size_of,
    tool_size,
)
from argo_mw_llm.costs.counts import FREE, Counts, part_of
from argo_mw_llm.costs.known_fields import RESPONSE_ITEMS, RESPONSES
from argo_mw_llm.providers.words import word
from argo_mw_llm.wires.chat import TIERS
from argo_mw_llm.wires.wire import JSON, Read, Wire, mappings

COUNTS = Counts(
    {
        "input_tokens": "input",
        "output_tokens": "output",
        "total_tokens": FREE,
        "input_tokens_details.cached_tokens": "read",
        "input_tokens_details.cache_write_tokens": "written",
        "input_tokens_details.cache_write_tokens_details.ttl_30m_tokens": "write_5m",
        "input_tokens_details.cache_write_tokens_details.ttl_12h_tokens": "write_1h",
        "output_tokens_details.reasoning_tokens": "thinking",
    },
    ("input_tokens", "output_tokens"),
)
"""``usage`` of an answer, with cached tokens of the shorter and the longer life."""

TOOLS = Counts(
    {
        "web_search.num_requests": "searches",
        "image_gen.input_tokens": "input",
        "image_gen.output_tokens": "output",
        "image_gen.total_tokens": FREE,
        "image_gen.input_tokens_details.image_tokens": FREE,
        "image_gen.input_tokens_details.text_tokens": FREE,
        "image_gen.cached_tokens": FREE,
        "image_gen.cached_tokens_details.cached_image_tokens": FREE,
        "image_gen.cached_tokens_details.cached_text_tokens": FREE,
        "image_gen.output_tokens_details.image_tokens": FREE,
        "image_gen.output_tokens_details.text_tokens": FREE,
    }
)
"""``tool_usage`` of an answer."""

_IMAGES = "image_generation"
"""The name for the model of images that tools make: the answer omits it, so it has no price."""

_ENDINGS = {"max_output_tokens": "length", "content_filter": "refusal"}
_STORED = ("previous_response_id", "conversation", "background", "prompt")
"""Fields that continue from what the provider has stored, or store something for later."""
_TOOL_CALLS = re.compile(r"_call$|_approval_request$")
_PAID_CALLS = ("file_search_call", "code_interpreter_call")
"""Tool calls that cost something no usage counts, so that their price is unknown."""
_LAST = ("response.completed", "response.incomplete", "response.failed")


class Responses(Wire):
    """OpenAI's responses."""

    name = "responses"
    path = "/responses"
    counts = COUNTS
    marks = (b'"response.completed"', b'"response.incomplete"', b'"response.failed"')
    last = b"event: response."
    last_event = re.compile(rb"(?:^|\n)event: ?response\.(?:completed|incomplete|failed)\r?\n")

    def read(self, body: JSON, content: bytes) -> Read:
        """Return usage, model and stop of the whole answer *body*; *content* is its bytes."""
        return Read(usage_of(body), word(body.get("model")), _stop(body))

    def read_event(self, event: JSON, ending: Ending) -> None:
        """Add what *event* of a stream tells about its answer."""
        answer = event.get("response")
        if event.get("type") not in _LAST or not isinstance(answer, Mapping):
            return
        ending.model = word(answer.get("model")) or ending.model
        ending.usage = usage_of(answer)
        ending.miscounted = ending.usage is None
        ending.stop = _stop(answer)

    def limit(self, limiting: Limiting) -> str:
        """Return the field that limits the length of an answer."""
        return "max_output_tokens"

    def bound(self, body: JSON, limiting: Limiting) -> Bound:
        """Return the most that the request *body* may take.

        Raises:
            NoBoundError: It has none.
        """
        if self.is_alone(body):
            msg = "nothing bounds the size of what the provider has stored and continues from"
            raise NoBoundError(msg)
        check_fields(body, RESPONSES)
        output = count_of("max_output_tokens", body.get("max_output_tokens"))
        return Bound(_prompt(body), output, cached=dearest_cache(body), limit=self.limit(limiting))

    def is_alone(self, body: JSON) -> bool:
        """Return whether the request *body* continues from what the provider has stored."""
        if any(body.get(name) for name in _STORED):
            return True
        items = mappings(body.get("input"))
        return any(item.get("type") == "item_reference" for item in items)


def usage_of(answer: JSON) -> Usage | None:
    """Return the usage of *answer*, or ``None`` if it is missing or impossible."""
    found, tools = COUNTS.read(answer.get("usage")), TOOLS.read(answer.get("tool_usage") or {})
    if found is None or tools is None or not found["input"]:
        return None
    long = found.get("write_1h", 0)
    written = max(found.get("write_5m", 0) + long, found.get("written", 0))
    read, written, fresh = part_of(found["input"], found.get("read", 0), written)
    long, short = part_of(written, long)
    images = Usage(tools.get("input", 0), tools.get("output", 0))
    others = [OtherUsage(_IMAGES, images)] if images.prompt or images.output else []
    calls = [word(item.get("type")) for item in mappings(answer.get("output"))]
    others += [OtherUsage(call, Usage()) for call in calls if call in _PAID_CALLS]
    return Usage(
        fresh,
        found["output"],
        short,
        long,
        read,
        thinking=found.get("thinking", 0),
        searches=tools.get("searches", calls.count("web_search_call")),
        tiers=TIERS.tiers(answer),
        others=tuple(others),
    )


def _stop(answer: JSON) -> str:
    """Return why *answer* ended; any tool call counts, since its side effects must not repeat."""
    status = word(answer.get("status")) or "None"
    if status == "incomplete":
        details = answer.get("incomplete_details")
        reason = word(details.get("reason")) if isinstance(details, Mapping) else ""
        reason = reason or status
        return _ENDINGS.get(reason, reason)
    if status != "completed":
        return status
    items = mappings(answer.get("output"))
    if any(_TOOL_CALLS.search(word(item.get("type"))) for item in items):
        return "tool"
    parts = [part for item in items for part in mappings(item.get("content"))]
    return "refusal" if any(part.get("type") == "refusal" for part in parts) else "end"


def _prompt(body: JSON) -> int:
    """Return the most tokens of the prompt."""
    total = FRAME
    for name, value in body.items():
        if name == "input" and not isinstance(value, str):
            total += sum(_item(one) for one in list_of(name, value))
        elif name == "tools":
            total += HIDDEN + sum(_tool(one) for one in list_of(name, value))
        elif name == "text":
            total += HIDDEN + 4 * size_of(value)
        else:
            total += size_of(name) + size_of(value)
    return total


def _item(item: object) -> int:
    if not isinstance(item, Mapping):
        return size_of(item)
    kind = item.get("type") or "message"
    if not isinstance(kind, str) or kind not in RESPONSE_ITEMS:
        msg = f"nothing bounds the size of an item of type {kind!r:.40}"
        raise NoBoundError(msg)
    rest = {name: value for name, value in item.items() if name not in ("content", "output")}
    return size_of(rest) + content_size(item.get("content")) + content_size(item.get("output"))


def _tool(tool: object) -> int:
    # A tool without a type is not one of this wire, and might mean anything.
    if isinstance(tool, Mapping) and tool.get("type") not in ("function", "custom"):
        msg = f"nothing bounds what the tool {tool.get('type')!r:.40} takes"
        raise NoBoundError(msg)
    return tool_size(tool)
