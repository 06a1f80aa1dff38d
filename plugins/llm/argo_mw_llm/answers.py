"""Answers of language models, and the tokens they took."""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen
from msgspec import Struct
from msgspec.structs import replace

from argo_mw_llm.bodies.foreign_json import read_json

Action = Literal["BUY", "SELL", "HOLD"]


class Usage(Struct, frozen=True):
    """Tokens by bucket, each counted once.

    Attributes:
        input: Prompt tokens at the full price.
        output: Tokens of the answer, thinking included.
        write_5m: Prompt tokens written to the provider's cache for five minutes.
        write_1h: The same for an hour.
        read: Prompt tokens read from the provider's cache.
        estimated: Whether this is an estimate, since the provider's count never came.
        thinking: How many of *output* are thinking.
        audio_in: How many of *input* are audio.
        audio_out: How many of *output* are audio.
        searches: Web searches that ran at the provider.
        tiers: What changes the price of all tokens, in the provider's words, such as ``batch``,
            ``priority``, ``fast`` and ``us``.
        others: The tokens that other models took for the answer, such as an adviser.
    """

    input: int = 0
    output: int = 0
    write_5m: int = 0
    write_1h: int = 0
    read: int = 0
    estimated: bool = False
    thinking: int = 0
    audio_in: int = 0
    audio_out: int = 0
    searches: int = 0
    tiers: tuple[str, ...] = ()
    others: tuple[OtherUsage, ...] = ()

    @property
    def prompt(self) -> int:
        """All prompt tokens."""
        return self.input + self.written + self.read

    @property
    def written(self) -> int:
        """All prompt tokens written to the provider's cache."""
        return self.write_5m + self.write_1h

    @property
    def whole(self) -> Usage:
        """The usage with the tokens of other models added to its own."""
        if not self.others:
            return self
        parts = [self, *(other.usage for other in self.others)]
        return replace(
            self,
            input=sum(one.input for one in parts),
            output=sum(one.output for one in parts),
            write_5m=sum(one.write_5m for one in parts),
            write_1h=sum(one.write_1h for one in parts),
            read=sum(one.read for one in parts),
            thinking=sum(one.thinking for one in parts),
            others=(),
        )


@frozen
class OtherUsage:
    """Tokens that another model took for an answer, or the same model in another step.

    Attributes:
        model: The model; "" for the one that answered.
        usage: The tokens.
    """

    model: str
    usage: Usage


@frozen
class ToolCall:
    """A call of a tool that the model asks for.

    Attributes:
        id: The provider's identifier of it.
        name: The tool.
        arguments: Its arguments as JSON.
    """

    id: str
    name: str
    arguments: str


@frozen
class Completion:
    """A model's answer.

    Attributes:
        text: The text.
        model: The model, as the provider names it.
        stop: Why it ended: ``end``, ``length``, ``tool``, ``refusal``, or the provider's word.
        usage: The tokens it took.
        tool_calls: The tools it asks for.
    """

    text: str
    model: str
    stop: str
    usage: Usage
    tool_calls: tuple[ToolCall, ...] = ()


@frozen
class Embedding:
    """A text as a vector.

    Attributes:
        vector: The numbers.
        model: The model, as the provider names it.
        usage: The tokens it took.
    """

    vector: tuple[float, ...] = field(repr=False)
    model: str
    usage: Usage


@frozen
class Opinion:
    """A model's view of a market.

    Attributes:
        action: ``BUY``, ``SELL`` or ``HOLD``.
        confidence: From 0 to 1.
        reason: Why, in one line.
        model: The model that gave it.
        usage: The tokens it took.
    """

    action: Action
    confidence: float
    reason: str
    model: str
    usage: Usage

    @property
    def score(self) -> float:
        """The action as a number: 1 for ``BUY``, -1 for ``SELL``, 0 for ``HOLD``."""
        return {"BUY": 1.0, "SELL": -1.0, "HOLD": 0.0}[self.action]


@frozen
class Malformed:
    """An answer that is not an opinion.

    Attributes:
        why: What is wrong with the answer.
        model: The model that gave it.
        usage: The tokens it took.
    """

    why: str
    model: str
    usage: Usage


@frozen
class RawResponse:
    """A provider's answer as it came over the wire, for clients of its own SDK.

    Attributes:
        status: The HTTP status.
        headers: The headers worth keeping.
        body: The body, decoded from its transfer encodings.
        model: The model.
        usage: The tokens it took.
        stop: Why the answer ended, as in :class:`Completion`.
        limits: Its headers about rate limits.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)
    model: str = ""
    usage: Usage = field(factory=Usage)
    stop: str = ""
    limits: tuple[tuple[str, str], ...] = field(default=(), eq=False, repr=False)

    @property
    def text(self) -> str:
        """The text of the answer, or "" if the body cannot be read."""
        try:
            body: Any = read_json(self.body)
            if "choices" in body:
                return str(body["choices"][0]["message"]["content"] or "")
            if "output" in body:
                parts = [part for item in body["output"] for part in item.get("content") or ()]
                return "".join(part.get("text", "") for part in parts)
            return "".join(block.get("text", "") for block in body["content"])
        except (ValueError, LookupError, TypeError, AttributeError):
            return ""
