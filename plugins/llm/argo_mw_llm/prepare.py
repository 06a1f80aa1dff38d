"""Prompt preparation: fewer tokens, the same meaning.

Each step has a name, can be switched off, and says what it saved. Only what is provably without
meaning goes: a text with any sign of code, quotation, a table or markup is left exactly as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from argo_mw_llm.ask import Ask
from argo_mw_llm.estimate import rough_tokens
from argo_mw_llm.prices import Prices

_NOT_PROSE = re.compile(
    r"""[^\w\s.,;!?()%$&/+-]   # quotes, brackets, markup, assignments, colons, dashes of rules
      | ^[ \t]                 # indentation
      | ^(?:[-+]|\d+[.)])[ \t] # lists
      | \t
      | ^\W*$(?<=\S)           # rules and underlines
      | [ ]{2,}\n              # a line break of Markdown
      | \d[ ]{2,} | [ ]{2,}[-+$]?\d  # columns of numbers
    """,
    re.VERBOSE | re.MULTILINE,
)
_SPACES = re.compile(r"(?<=[^\s\d]) {2,}(?=[^\s\d])")
_COLUMNS = re.compile(r"\S {2,}\S")
_BLANK = re.compile(r"\n{3,}")
_SENTENCE_END = (".", "!", "?", ",", ";")


@frozen
class Step:
    """What a step did.

    Attributes:
        name: The step.
        saved: Tokens saved, about.
        note: What happened, for people.
    """

    name: str
    saved: int
    note: str


def collapse(text: str) -> str:
    """*text* without repeated spaces and blank lines, if it is prose throughout.

    Anything else comes back unchanged: code, quotations, YAML, tables, lists and Markdown.
    """
    if _NOT_PROSE.search(text) or _has_columns(text):
        return text
    return _BLANK.sub("\n\n", _SPACES.sub(" ", text))


def prepare(
    ask: Ask, steps: Sequence[str], prices: Prices, *, caches: bool
) -> tuple[Ask, tuple[Step, ...]]:
    """*ask* with *steps* applied, and what each of them did.

    Args:
        ask: The question.
        steps: The steps that are switched on.
        prices: For the least prompt that the model's provider caches.
        caches: Whether the provider takes a top-level ``cache_control``.
    """
    done: list[Step] = []
    if "whitespace" in steps:
        ask, step = _whitespace(ask)
        done += [step] if step.saved else []
    if ask.repeats and caches:
        price = prices.of(ask.model)
        least = price.least_cached if price is not None else None
        if "prompt_cache" not in steps:
            ask = evolve(ask, repeats="")
        elif least is None or ask.rough < least:
            note = f"about {ask.rough} tokens; {ask.model} caches from {least or 'an unknown size'}"
            done.append(Step("prompt_cache", 0, f"not asked for: {note}"))
            ask = evolve(ask, repeats="")
        else:
            done.append(Step("prompt_cache", 0, f"asked for, for {ask.repeats}"))
    return ask, tuple(done)


def _whitespace(ask: Ask) -> tuple[Ask, Step]:
    system = collapse(ask.system)
    messages = tuple(_collapsed(message) for message in ask.messages)
    before = rough_tokens(ask.system) + sum(_size(m) for m in ask.messages)
    saved = before - rough_tokens(system) - sum(_size(m) for m in messages)
    return evolve(ask, system=system, messages=messages), Step(
        "whitespace", saved, f"saved about {saved} tokens"
    )


def _collapsed(message: Mapping[str, object]) -> Mapping[str, object]:
    content = message.get("content")
    if message.get("role") != "user" or not isinstance(content, str):
        return message
    return {**message, "content": collapse(content)}


def _size(message: Mapping[str, object]) -> int:
    content = message.get("content")
    return rough_tokens(content) if isinstance(content, str) else 0


def _has_columns(text: str) -> bool:
    """Whether wide gaps stand on lines that are no sentences: then they may align something."""
    lines = text.split("\n")
    return any(_COLUMNS.search(line) and not line.endswith(_SENTENCE_END) for line in lines)
