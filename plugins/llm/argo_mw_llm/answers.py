"""Answers of language models, and the tokens that they took."""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen

from argo_mw_llm.foreign_json import read_json

Action = Literal["BUY", "SELL", "HOLD"]


@frozen
class Usage:
    """Tokens by bucket, each counted once.

    Attributes:
        input: Prompt tokens at the full price.
        output: Tokens of the answer, thinking included.
        write_5m: Prompt tokens written to the provider's cache for five minutes.
        write_1h: The same for an hour.
        read: Prompt tokens read from the provider's cache.
        estimated: Whether this is an estimate, because the provider's count never came.
    """

    input: int = 0
    output: int = 0
    write_5m: int = 0
    write_1h: int = 0
    read: int = 0
    estimated: bool = False

    @property
    def prompt(self) -> int:
        """All prompt tokens."""
        return self.input + self.write_5m + self.write_1h + self.read


@frozen
class ToolCall:
    """A call of a tool that the model asks for.

    Attributes:
        id: The provider's name of it.
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
        usage: The tokens it took all the same.
    """

    why: str
    model: str
    usage: Usage


@frozen
class RawResponse:
    """A provider's answer as it came over the wire, for clients of its own SDK.

    Attributes:
        status: The HTTP status.
        headers: Those worth keeping.
        body: The body, decoded from its transfer encodings.
        model: The model.
        usage: The tokens it took.
        stop: Why the answer ended, as in :class:`Completion`.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)
    model: str = ""
    usage: Usage = field(factory=Usage)
    stop: str = ""

    @property
    def text(self) -> str:
        """The text of the answer, or "" where the body cannot be read."""
        try:
            body: Any = read_json(self.body)
            if "choices" in body:
                return str(body["choices"][0]["message"]["content"] or "")
            return "".join(block.get("text", "") for block in body["content"])
        except (ValueError, LookupError, TypeError, AttributeError):
            return ""
