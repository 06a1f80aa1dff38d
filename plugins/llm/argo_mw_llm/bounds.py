"""Bounds: the most that a request may take, whatever its provider makes of it.

A budget holds the bound before a request is sent. Estimates are for expectations; here nothing
is estimated: a tokenizer makes at most one token of each byte of UTF-8, and fields, content and
tools of which nothing is known have no bound, so that they cannot be asked under a budget.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Literal, cast

from attrs import evolve, frozen

from argo_mw.plugin import Call
from argo_mw_llm.known_fields import (
    CHAT,
    CLAUDE,
    CLIENT_TOOLS,
    MESSAGE_FIELDS,
    NESTED_BLOCKS,
    TEXT_BLOCKS,
    USUAL_VALUES,
)

MAX_IMAGE = 16_384
"""Tokens of an image at most: Qwen's limit for high resolution; Claude's is lower."""

MIN_OUTPUT = 16_384
"""Tokens of an answer whose request names no limit: it is not limited to fewer."""

MIN_THINKING = 4_096
"""Tokens of Qwen's thinking, which ``max_tokens`` does not limit; it is not limited to fewer."""

_FRAME = 128
"""Tokens that a provider adds to any prompt."""
_HIDDEN = 2_048
"""Tokens of the instructions that a provider adds for tools, and for answers of a given form."""
_MESSAGE = 16
_CLIENT_TOOL = 4_096
"""Tokens of a tool that the provider describes and the client runs, such as Claude's editor."""
_OPINION = 2_048
"""Bytes of an opinion's instructions, and tokens of its answer."""
_OPINION_OUTPUT = 300


@frozen
class Bound:
    """The most that a request may take.

    Attributes:
        prompt: Prompt tokens.
        output: Tokens of each choice, thinking apart; ``None``: the request names no limit.
        thinking: Tokens of each choice's thinking that *output* does not include; ``None``: it
            needs a limit, and names none.
        choices: How many answers it asks for.
        cached: For how long it lets the provider cache the prompt, or "".
        inserted: Fields that are added to the request, because a budget needs them.
        unbounded: Why there is no bound, or "".
    """

    prompt: int = 0
    output: int | None = None
    thinking: int | None = 0
    choices: int = 1
    cached: Literal["", "5m", "1h"] = ""
    inserted: Mapping[str, object] = {}
    unbounded: str = ""

    @property
    def answer(self) -> int:
        """All tokens of the answers; only of a bound that is limited."""
        assert self.output is not None, "ask limited() first"
        assert self.thinking is not None, "ask limited() first"
        return self.choices * (self.output + self.thinking)

    def limited(self, output: int) -> Bound:
        """Return the bound with what has no limit limited to *output* tokens, by insertion."""
        inserted: dict[str, object] = dict(self.inserted)
        if self.output is None:
            inserted["max_tokens"] = output
        limit = output if self.output is None else self.output
        thinking = self.thinking
        if thinking is None:
            thinking = inserted["thinking_budget"] = max(limit, MIN_THINKING)
        return evolve(self, output=limit, thinking=thinking, inserted=inserted)


class _NoBoundError(Exception):
    """Something has no bound; the message says what."""


def bound_of(provider: str, call: Call) -> Bound:
    """Return the most that *call* may take of *provider*."""
    parameters = call.parameters
    try:
        if "indicators" in parameters:
            prompt = _FRAME + _HIDDEN + _OPINION + _size(parameters)
            thinking = None if provider == "qwen" else 0
            return Bound(prompt, _OPINION_OUTPUT, thinking)
        body = parameters.get("body")
        if isinstance(body, Mapping):
            return _of_body(provider, body)
        return _of_question(provider, parameters)
    except _NoBoundError as error:
        return Bound(unbounded=str(error))
    except RecursionError:
        return Bound(unbounded="it is nested too deeply")


def _of_question(provider: str, parameters: Mapping[str, object]) -> Bound:
    """Return the bound of the operation ``complete``."""
    fields = ("messages", "system", "tools", "schema", "tool_choice")
    sent = {name: parameters[name] for name in fields if parameters.get(name)}
    written = parameters.get("prompt_cache_ttl")
    return Bound(
        _prompt(sent),
        _count("max_tokens", parameters.get("max_tokens")),
        None if provider == "qwen" and parameters.get("thinking") is not False else 0,
        cached=_dearest(sent, "1h" if written == "1h" else "5m" if written else ""),
    )


def _of_body(provider: str, body: Mapping[str, object]) -> Bound:
    """Return the bound of a request of the provider's own SDK."""
    known = CLAUDE if provider == "claude" else CHAT
    for name, value in body.items():
        if name not in known and value is not None and value is not False:
            if value in USUAL_VALUES.get(name, ()):
                continue
            msg = f"it is not known what {name!r} costs"
            raise _NoBoundError(msg)
    limits = [_count(name, body.get(name)) for name in ("max_tokens", "max_completion_tokens")]
    given = [limit for limit in limits if limit is not None]
    output = max(given, default=None)
    if provider == "claude":
        if output is None:
            msg = "it names no max_tokens"
            raise _NoBoundError(msg)
        return Bound(_prompt(body), output, _claude_thinking(body), cached=_dearest(body))
    choices = _count("n", body.get("n"))
    bound = Bound(_prompt(body), output, 0, 1 if choices is None else choices, _dearest(body))
    if provider == "qwen" and body.get("enable_thinking") is not False:
        bound = evolve(bound, thinking=_count("thinking_budget", body.get("thinking_budget")))
    if limits[0] is None and output is not None:
        # Not every provider knows the newer name of the limit.
        bound = evolve(bound, inserted={"max_tokens": output})
    return bound


def _claude_thinking(body: Mapping[str, object]) -> int:
    """Return the thinking budget; interleaved with tools, it may exceed ``max_tokens``."""
    thinking = body.get("thinking")
    if not isinstance(thinking, Mapping):
        return 0
    return _count("budget_tokens", thinking.get("budget_tokens")) or 0


def _count(name: str, value: object) -> int | None:
    """Return *value*, a number of tokens or answers; ``None`` when it is not given."""
    if value is None:
        return None
    whole = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 1
    if not whole or cast(float, value) % 1 != 0 or cast(float, value) > 2**31:
        msg = f"{name} is {value!r:.40}, which is no number of them"
        raise _NoBoundError(msg)
    return int(cast(float, value))


def _prompt(fields: Mapping[str, object]) -> int:
    """Return the prompt's tokens at most: a byte of UTF-8 is the least that a token stands for."""
    total = _FRAME
    for name, value in fields.items():
        if name == "messages":
            total += sum(_message(one) for one in _list(name, value))
        elif name == "system":
            total += _content(value)
        elif name in ("tools", "functions"):
            total += _HIDDEN + sum(_tool(one) for one in _list(name, value))
        elif name in ("schema", "response_format", "output_config", "output_format"):
            total += _HIDDEN + 2 * _size(value) + _json_size(value)
        else:
            total += _size(name) + _size(value)
    return total


def _message(message: object) -> int:
    if not isinstance(message, Mapping):
        return _size(message)
    total = _MESSAGE
    for name, value in message.items():
        if name == "content":
            total += _content(value)
        elif name in MESSAGE_FIELDS or not value:
            total += _size(name) + _size(value)
        else:
            msg = f"it is not known what {name!r} of a message costs"
            raise _NoBoundError(msg)
    return total


def _content(content: object) -> int:
    if not isinstance(content, (list, tuple)):
        return _block(content) if isinstance(content, Mapping) else _size(content)
    return sum(_block(block) for block in content)


def _block(block: object) -> int:
    if not isinstance(block, Mapping):
        return _size(block)
    kind = block.get("type", "text")
    if kind in TEXT_BLOCKS:
        return _MESSAGE + _size(block)
    if kind in NESTED_BLOCKS:
        rest = {name: value for name, value in block.items() if name != "content"}
        return _MESSAGE + _size(rest) + _content(block.get("content"))
    source = block.get("source")
    if isinstance(source, Mapping):
        if kind == "image" and source.get("type") == "base64":
            return MAX_IMAGE
        if kind == "document" and source.get("type") in ("text", "content"):
            rest = {name: value for name, value in block.items() if name != "source"}
            inner = source.get("content") if source["type"] == "content" else source.get("data")
            return _MESSAGE + _size(rest) + _content(inner)
    image = block.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    if kind == "image_url" and isinstance(url, str) and url[:11].lower() == "data:image/":
        return MAX_IMAGE
    msg = f"nothing bounds the size of content of type {kind!r:.40} that is not sent along"
    raise _NoBoundError(msg)


def _tool(tool: object) -> int:
    if not isinstance(tool, Mapping):
        return _size(tool)
    kind = tool.get("type") or "custom"
    if kind in ("custom", "function"):
        return _MESSAGE + _size(tool)
    if isinstance(kind, str) and kind.startswith(CLIENT_TOOLS):
        return _CLIENT_TOOL + _size(tool)
    msg = f"nothing bounds what the tool {kind!r:.40} takes, which runs at the provider"
    raise _NoBoundError(msg)


def _dearest(value: object, found: Literal["", "5m", "1h"] = "") -> Literal["", "5m", "1h"]:
    """Return the longest time for which a ``cache_control`` in *value* lets the prompt be kept."""
    if found == "1h":
        return found
    if isinstance(value, Mapping):
        control = value.get("cache_control")
        if control is not None:
            ttl = control.get("ttl", "5m") if isinstance(control, Mapping) else ""
            found = "5m" if ttl in ("5m", None) else "1h"
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return found
    for one in value:
        if isinstance(one, (Mapping, list, tuple)):
            found = _dearest(one, found)
    return found


def _size(value: object) -> int:
    """Return how many bytes *value* comes to, as JSON and as text."""
    if isinstance(value, str):
        if value.isascii():
            return len(value) + 2
        # Some tokenizers normalize text first, which may make it longer.
        normal = unicodedata.normalize("NFKC", value)
        return 2 + max(len(text.encode("utf-8", "surrogatepass")) for text in (value, normal))
    if isinstance(value, Mapping):
        return 2 + sum(_size(name) + _size(one) + 4 for name, one in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return 2 + sum(_size(one) + 2 for one in value)
    return len(repr(value)) + 2


def _json_size(value: object) -> int:
    return len(json.dumps(value, default=str))


def _list(name: str, value: object) -> Sequence[object]:
    if value is None:
        return ()
    if isinstance(value, (list, tuple)):
        return value
    msg = f"{name} are no list"
    raise _NoBoundError(msg)
