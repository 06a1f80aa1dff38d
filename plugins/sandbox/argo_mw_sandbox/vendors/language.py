"""Parts that the language models share: prompts, tokens, prompt caches, replies."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from argo_mw_sandbox.analyst import opine
from argo_mw_sandbox.vendors.protocol import VendorRequest

JSON = dict[str, object]

BYTES_PER_TOKEN = 4
MINUTES_5 = 300.0
HOUR = 3600.0
_MAX_PREFIXES = 10_000
TWISTS: Mapping[str, str] = {
    "empty": "replies with no text",
    "malformed": "replies with prose where JSON was asked for",
    "refusal": "declines to answer",
    "truncated": "stops in the middle, at the token limit",
}


@frozen
class ModelReply:
    """A model's reply.

    Attributes:
        text: The text.
        stop: Why it stopped: ``end``, ``length``, ``tool`` or ``refusal``.
        tokens: Completion tokens.
        thinking: Its thoughts, if they were asked for.
        tool: A tool's name and arguments, where it calls one.
    """

    text: str
    stop: str
    tokens: int
    thinking: str = ""
    tool: tuple[str, JSON] | None = None


@frozen
class Prompt:
    """A request to a model, as far as both protocols agree.

    Attributes:
        model: The model.
        blocks: Its text in the order in which caches see it: tools, system, messages.
        last: The last user text.
        limit: Completion tokens at most.
        wants_json: Whether a strict JSON reply is asked for.
        thinks: Whether to think first.
        tool: A tool that must be called, with the schema of its arguments.
    """

    model: str
    blocks: tuple[str, ...]
    last: str
    limit: int
    wants_json: bool
    thinks: bool
    tool: tuple[str, JSON] | None

    @property
    def text(self) -> str:
        """The whole text."""
        return "\n".join(self.blocks)


def count_tokens(text: str) -> int:
    """Return tokens by the sandbox's own rule: one for each four bytes begun."""
    return math.ceil(len(text.encode()) / BYTES_PER_TOKEN)


def reply(prompt: Prompt, twist: str) -> ModelReply:
    """Answer a prompt, altered by *twist* if one is named."""
    if prompt.tool is not None:
        name, schema = prompt.tool
        filled = fill_schema(schema, prompt)
        return ModelReply("", "tool", count_tokens(name + json.dumps(filled)), tool=(name, filled))
    if twist == "empty":
        return ModelReply("", "end", 1)
    if twist == "refusal":
        return ModelReply("I cannot help with that.", "refusal", 7)
    opinion = opine(prompt.text, prompt.model)
    strict = prompt.wants_json and twist != "malformed"
    text = opinion.as_json(prompt.text) if strict else opinion.as_text()
    thinking = f"I weigh the numbers. {opinion.reason}" if prompt.thinks else ""
    tokens = count_tokens(text) + count_tokens(thinking)
    limit = max(tokens // 2, 1) if twist == "truncated" else prompt.limit
    if tokens <= limit:
        return ModelReply(text, "end", tokens, thinking)
    return ModelReply(
        text.encode()[: limit * BYTES_PER_TOKEN].decode(errors="ignore"), "length", limit
    )


def fill_schema(schema: JSON, prompt: Prompt) -> JSON:
    """Return arguments that satisfy the properties of a tool's JSON schema, as far as types go."""
    opinion = opine(prompt.text, prompt.model)
    known: JSON = {
        "action": opinion.action,
        "confidence": opinion.confidence,
        "reason": opinion.reason,
    }
    blanks: JSON = {"string": "text", "number": 1.5, "integer": 1, "boolean": True, "array": []}
    properties = schema.get("properties")
    filled: JSON = {}
    for name, details in properties.items() if isinstance(properties, dict) else ():
        choices = details.get("enum") if isinstance(details, dict) else None
        kind = str(details.get("type")) if isinstance(details, dict) else "string"
        if choices:
            filled[name] = known[name] if known.get(name) in choices else choices[0]
        else:
            filled[name] = known.get(name, blanks.get(kind, {}))
    return filled


def pieces(text: str) -> list[str]:
    """Return the text in the chunks in which it is streamed, of three words each."""
    parts = text.split(" ")
    chunks = [" ".join(parts[at : at + 3]) for at in range(0, len(parts), 3)]
    return [chunk + " " for chunk in chunks[:-1]] + chunks[-1:]


@frozen
class Cached:
    """A prompt's tokens, split by the provider's cache."""

    fresh: int
    written: int = 0
    read: int = 0


class PromptCache:
    """A provider's prompt cache: prefixes that were sent before, for a while.

    Args:
        now: Where time comes from, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def use(
        self, model: str, blocks: Sequence[str], marked: int, least: int, seconds: float
    ) -> Cached:
        """Look a prompt's prefixes up, remember them, and split its tokens.

        Args:
            model: Caches are never shared between models.
            blocks: The prompt's text, block by block.
            marked: How many blocks, from the start, may be cached.
            least: Tokens below which nothing is cached.
            seconds: How long what is written stays.
        """
        sizes = [count_tokens(block) for block in blocks]
        total, cacheable = sum(sizes), sum(sizes[:marked])
        if marked == 0 or cacheable < least:
            return Cached(total)
        now = self._now()
        read, size, digest = 0, 0, hashlib.sha256(model.encode())
        for block, tokens in zip(blocks[:marked], sizes, strict=False):
            digest.update(block.encode() + b"\0")
            size += tokens
            if size >= least:
                if self._until.get(digest.digest(), 0.0) > now:
                    read = size
                self._remember(digest.digest(), now + seconds)
        return Cached(total - cacheable, cacheable - read, read)

    def _remember(self, prefix: bytes, until: float) -> None:
        self._until[prefix] = until
        self._until.move_to_end(prefix)
        if len(self._until) > _MAX_PREFIXES:
            self._until.popitem(last=False)


def read_body(request: VendorRequest) -> JSON:
    """Return the JSON object in a request's body; an empty one if there is none."""
    try:
        content = json.loads(request.body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def text_of(content: object) -> str:
    """Return the text of a message's content; what is not text counts as its JSON."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(text_of(block) for block in content)
    if isinstance(content, dict):
        return str(content["text"]) if "text" in content else json.dumps(content, sort_keys=True)
    return ""


def as_list(value: object) -> list[JSON]:
    """Return the JSON objects in a list; none if it is not a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_dict(value: object) -> JSON:
    """Return a JSON object, or an empty one."""
    return value if isinstance(value, dict) else {}


def as_int(value: object, default: int) -> int:
    """Return a JSON integer, or the default."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def asks_for_json(text: str) -> bool:
    """Return whether a prompt asks for a JSON reply in words."""
    return "json" in text.lower()
