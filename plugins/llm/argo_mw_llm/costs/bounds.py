"""Bounds: the most tokens that a request can take, whatever its provider does with it.

A budget holds the bound before a request is sent. Nothing here is estimated: a tokenizer makes at
most one token of each byte of UTF-8. Unknown fields, content and tools have no bound, so requests
with them are refused under a budget.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, cast

from attrs import evolve, frozen

from argo_mw_llm.costs.known_fields import (
    BLOCK_FIELDS,
    CLIENT_TOOLS,
    MESSAGE_FIELDS,
    NESTED_BLOCKS,
    TEXT_BLOCKS,
    TOOL_FIELDS,
    USUAL_VALUES,
)

MAX_IMAGE = 65_536
"""The most tokens of an image: the highest count of any provider is 48,169, the next 16,384."""

MIN_OUTPUT = 16_384
"""The lowest limit that is set on an answer whose request names none."""

MIN_THINKING = 4_096
"""The lowest limit that is set on thinking that the answer's limit does not include."""

FRAME = 128
"""Tokens that a provider adds to any prompt."""
HIDDEN = 2_048
"""Tokens of the instructions that a provider adds for tools, and for answers of a given form."""
_MESSAGE = 16
_CACHE_CONTROLS = ("cache_control", "prompt_cache_options", "prompt_cache_breakpoint")
_SHORT = ("5m", "30m", None)
_CLIENT_TOOL = 4_096
"""The most tokens of a tool that the provider defines and the client runs, such as an editor."""


@frozen
class Limiting:
    """How a provider limits the length of its answers.

    Attributes:
        field: The field of a request that limits an answer.
        apart: Whether that excludes thinking, which ``thinking_budget`` limits.
    """

    field: str = "max_tokens"
    apart: bool = False


@frozen
class Bound:
    """The most tokens that a request may take.

    Attributes:
        prompt: Prompt tokens.
        output: Tokens of each choice, without separate thinking; ``None`` if the request sets no
            limit.
        thinking: Tokens of each choice's thinking that *output* does not include; ``None`` if it
            needs a limit and the request sets none.
        choices: How many answers it asks for.
        cached: For how long it lets the provider cache the prompt, or "".
        inserted: Fields that are added to the request because a budget needs them.
        unbounded: Why there is no bound, or "".
        limit: The field that limits the answer.
    """

    prompt: int = 0
    output: int | None = None
    thinking: int | None = 0
    choices: int = 1
    cached: Literal["", "5m", "1h"] = ""
    inserted: Mapping[str, object] = {}
    unbounded: str = ""
    limit: str = "max_tokens"

    @property
    def answer(self) -> int:
        """All tokens of the answers; call :meth:`limited` first."""
        assert self.output is not None, "ask limited() first"
        assert self.thinking is not None, "ask limited() first"
        return self.choices * (self.output + self.thinking)

    def limited(self, output: int) -> Bound:
        """Return the bound with *output* as the limit, inserted as a field, where there is none."""
        inserted: dict[str, object] = dict(self.inserted)
        if self.output is None:
            inserted[self.limit] = output
        limit = output if self.output is None else self.output
        thinking = self.thinking
        if thinking is None:
            thinking = inserted["thinking_budget"] = max(limit, MIN_THINKING)
        return evolve(self, output=limit, thinking=thinking, inserted=inserted)


class NoBoundError(Exception):
    """Part of a request has no bound; the message says which."""


def check_fields(body: Mapping[str, object], known: Collection[str]) -> None:
    """Check that all fields of the request *body* are known, so that none adds to its cost.

    Raises:
        NoBoundError: A field is unknown.
    """
    for name, value in body.items():
        if name not in known and value is not None and value is not False:
            if value in USUAL_VALUES.get(name, ()):
                continue
            msg = f"it is not known what {name!r} costs"
            raise NoBoundError(msg)


def count_of(name: str, value: object) -> int | None:
    """Return *value*, a number of tokens or answers; ``None`` if it is not given.

    Raises:
        NoBoundError: It is no whole number of them.
    """
    if value is None:
        return None
    whole = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 1
    if not whole or cast(float, value) % 1 != 0 or cast(float, value) > 2**31:
        msg = f"{name} is {value!r:.40}, which is not a number of them"
        raise NoBoundError(msg)
    return int(cast(float, value))


def prompt_size(fields: Mapping[str, object]) -> int:
    """Return the most tokens of the prompt: each token stands for at least a byte of UTF-8.

    Raises:
        NoBoundError: Something in it has no bound.
    """
    total = FRAME
    for name, value in fields.items():
        if name == "messages":
            total += sum(_message(one) for one in list_of(name, value))
        elif name == "system":
            total += content_size(value)
        elif name in ("tools", "functions"):
            total += HIDDEN + sum(tool_size(one) for one in list_of(name, value))
        elif name in ("schema", "response_format", "output_config", "output_format"):
            total += HIDDEN + 2 * size_of(value) + _json_size(value)
        else:
            total += size_of(name) + size_of(value)
    return total


def _message(message: object) -> int:
    if not isinstance(message, Mapping):
        return size_of(message)
    total = _MESSAGE
    for name, value in message.items():
        if name == "content":
            total += content_size(value)
        elif name in MESSAGE_FIELDS or not value:
            total += size_of(name) + size_of(value)
        else:
            msg = f"it is not known what {name!r} of a message costs"
            raise NoBoundError(msg)
    return total


def content_size(content: object) -> int:
    """Return the most tokens of a message's content.

    Raises:
        NoBoundError: It has no bound.
    """
    if not isinstance(content, (list, tuple)):
        return _block(content) if isinstance(content, Mapping) else size_of(content)
    return sum(_block(block) for block in content)


def _block(block: object) -> int:
    if not isinstance(block, Mapping):
        return size_of(block)
    kind = block.get("type", "text")
    if not isinstance(kind, str):
        msg = f"{kind!r:.40} is no type of content"
        raise NoBoundError(msg)
    if kind in TEXT_BLOCKS:
        _check_parts("content", block, BLOCK_FIELDS)
        return _MESSAGE + size_of(block)
    if kind in NESTED_BLOCKS:
        _check_parts("content", block, BLOCK_FIELDS)
        rest = {name: value for name, value in block.items() if name != "content"}
        return _MESSAGE + size_of(rest) + content_size(block.get("content"))
    source = block.get("source")
    if isinstance(source, Mapping):
        if kind == "image" and source.get("type") == "base64":
            return MAX_IMAGE
        if kind == "document" and source.get("type") in ("text", "content"):
            rest = {name: value for name, value in block.items() if name != "source"}
            inner = source.get("content") if source["type"] == "content" else source.get("data")
            return _MESSAGE + size_of(rest) + content_size(inner)
    image = block.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    sent = isinstance(url, str) and url[:11].lower() == "data:image/"
    if kind in ("image_url", "input_image") and sent:
        return MAX_IMAGE
    msg = f"nothing bounds the size of content of type {kind!r:.40} that is not sent along"
    raise NoBoundError(msg)


def _check_parts(what: str, value: Mapping[str, object], known: Collection[str]) -> None:
    """Check that *value* is just what its type says, and no provider can read more in it.

    Raises:
        NoBoundError: It has a field besides, such as the address of a picture.
    """
    for name, part in value.items():
        if part and name not in known:
            msg = f"it is not known what {name!r:.40} of {what} costs"
            raise NoBoundError(msg)


def tool_size(tool: object) -> int:
    """Return the most tokens of the description of a tool that the client runs.

    Raises:
        NoBoundError: It runs at the provider.
    """
    if not isinstance(tool, Mapping):
        return size_of(tool)
    kind = tool.get("type") or "custom"
    if kind in ("custom", "function"):
        _check_parts("a tool", tool, TOOL_FIELDS)
        return _MESSAGE + size_of(tool)
    if isinstance(kind, str) and CLIENT_TOOLS.fullmatch(kind):
        return _CLIENT_TOOL + size_of(tool)
    msg = f"nothing bounds what the tool {kind!r:.40} takes, which runs at the provider"
    raise NoBoundError(msg)


def dearest_cache(value: object, found: Literal["", "5m", "1h"] = "") -> Literal["", "5m", "1h"]:
    """Return the longest time for which *value* lets the provider cache the prompt.

    Five minutes stand for the shortest of a provider's times, an hour for any longer one.
    """
    if found == "1h":
        return found
    if isinstance(value, Mapping):
        for control in [value[name] for name in _CACHE_CONTROLS if value.get(name) is not None]:
            ttl = control.get("ttl") if isinstance(control, Mapping) else ""
            if ttl not in _SHORT:
                return "1h"
            found = "5m"
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return found
    for one in value:
        if isinstance(one, (Mapping, list, tuple)):
            found = dearest_cache(one, found)
    return found


def size_of(value: object) -> int:
    """Return the size of *value* in bytes, as JSON or as text, whichever is larger."""
    if isinstance(value, str):
        if value.isascii():
            return len(value) + 2
        # Some tokenizers normalize text before, which may make it longer.
        normal = unicodedata.normalize("NFKC", value)
        return 2 + max(len(text.encode("utf-8", "surrogatepass")) for text in (value, normal))
    if isinstance(value, Mapping):
        return 2 + sum(size_of(name) + size_of(one) + 4 for name, one in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return 2 + sum(size_of(one) + 2 for one in value)
    return len(repr(value)) + 2


def _json_size(value: object) -> int:
    return len(json.dumps(value, default=str))


def list_of(name: str, value: object) -> Sequence[object]:
    """Return the list *value* of the field *name*; an empty one if it is not given.

    Raises:
        NoBoundError: It is not a list.
    """
    if value is None:
        return ()
    if isinstance(value, (list, tuple)):
        return value
    msg = f"{name} are not a list"
    raise NoBoundError(msg)
