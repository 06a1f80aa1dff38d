"""Prompt preparation: fewer tokens, the same meaning.

Each step has a name, can be switched off, and reports what it saved. Only what certainly has no
meaning is removed: a text with any sign of code, quotation, tables or markup stays unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from argo_mw_llm.costs.estimate import rough_tokens
from argo_mw_llm.costs.prices import Prices
from argo_mw_llm.providers.request import ModelRequest

_NOT_PROSE = re.compile(
    r"""[^\w\s.,;!?()%$&/+-]   # quotes, brackets, markup, assignments, colons, dashes of rules
      | ^[ \t]                 # indentation
      | ^(?:[-+]|\d+[.)])[ \t] # lists
      | \t
      | ^[^\w\n]*+$(?<=\S)     # rules and underlines
      | [ ][ ]\n               # a line break of Markdown
      | \d[ ][ ] | [ ][ ][-+$]?\d  # columns of numbers
    """,
    re.VERBOSE | re.MULTILINE,
)
_SPACES = re.compile(r"(?<=[^\s\d]) {2,}(?=[^\s\d])")
_COLUMNS = re.compile(r"\S {2,}\S")
_BLANK = re.compile(r"\n{3,}")
_SENTENCE_END = (".", "!", "?", ",", ";")


@frozen
class Step:
    """The effect of a step.

    Attributes:
        name: The step.
        saved: About how many tokens were saved.
        note: What happened, for people.
    """

    name: str
    saved: int
    note: str


def collapse(text: str) -> str:
    """Return *text* without repeated spaces and blank lines, if it is prose throughout.

    Anything else is returned unchanged: code, quotations, YAML, tables, lists and Markdown.
    """
    if _NOT_PROSE.search(text) or _has_columns(text):
        return text
    return _BLANK.sub("\n\n", _SPACES.sub(" ", text))


def prepare(
    request: ModelRequest, steps: Sequence[str], prices: Prices, *, caches: bool
) -> tuple[ModelRequest, tuple[Step, ...]]:
    """Return *request* with *steps* applied, and what each of them did.

    Args:
        request: The question.
        steps: The steps that are switched on.
        prices: The price table, which has the shortest prompt that a provider caches.
        caches: Whether the provider accepts a top-level ``cache_control``.
    """
    done: list[Step] = []
    if "whitespace" in steps:
        request, step = _whitespace(request)
        done += [step] if step.saved else []
    if request.prompt_cache_ttl and caches:
        price = prices.of(request.model)
        least = price.least_cached if price is not None else None
        if "prompt_cache" not in steps:
            request = evolve(request, prompt_cache_ttl="")
        elif least is None or request.rough < least:
            size = least or "an unknown size"
            note = f"about {request.rough} tokens; {request.model} caches from {size}"
            done.append(Step("prompt_cache", 0, f"not asked for: {note}"))
            request = evolve(request, prompt_cache_ttl="")
        else:
            done.append(Step("prompt_cache", 0, f"asked for, for {request.prompt_cache_ttl}"))
    return request, tuple(done)


def _whitespace(request: ModelRequest) -> tuple[ModelRequest, Step]:
    system = collapse(request.system)
    messages = tuple(_collapsed(message) for message in request.messages)
    before = rough_tokens(request.system) + sum(_size(m) for m in request.messages)
    saved = before - rough_tokens(system) - sum(_size(m) for m in messages)
    return evolve(request, system=system, messages=messages), Step(
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
    """Return whether lines that are not sentences have wide gaps, which may align columns."""
    lines = text.split("\n")
    return any(_COLUMNS.search(line) and not line.endswith(_SENTENCE_END) for line in lines)
