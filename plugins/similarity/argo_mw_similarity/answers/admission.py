"""Admission: which answers may serve other prompts: whole replies, no refusals, no actions."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from argo_mw.plugin import Outcome, Stream

_WHOLE = frozenset({"", "stop", "end", "end_turn", "stop_sequence", "eos", "none"})
_REASONS = ("stop_reason", "finish_reason", "stop")
_TEXTS = ("text", "content", "answer", "reply")


def refusals(*directories: Path) -> tuple[str, ...]:
    """Return how replies begin that are not answers; *directories* may add to the shipped list."""
    found: list[str] = []
    for folder in (files("argo_mw_similarity") / "data", *directories):
        source = folder / "refusals.txt"
        if source.is_file():
            lines = source.read_text("utf-8-sig").lower().splitlines()
            found += [text for line in lines if (text := line.split("#")[0].strip())]
    return tuple(found)


def inadmissible(outcome: Outcome, beginnings: tuple[str, ...]) -> str:
    """Return why *outcome* must not serve another prompt, or ""."""
    value = outcome.value
    if value is None:
        return "no answer"
    if isinstance(value, Stream):
        return "a stream"
    reason = _first(value, _REASONS)
    if isinstance(reason, str) and reason.lower() not in _WHOLE:
        return f"the reply ended with {reason!r}"
    if _first(value, ("tool_calls", "tool_use")):
        return "the reply asks for an action"
    text = value if isinstance(value, str) else _first(value, _TEXTS)
    if isinstance(text, str):
        start = text.strip().lower().replace("\u2019", "'")
        if not start:
            return "an empty reply"
        if start.startswith(beginnings):
            return "the model declined"
    return ""


def _first(value: object, names: tuple[str, ...]) -> object:
    for name in names:
        found = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
        if found:
            return found
    return None
