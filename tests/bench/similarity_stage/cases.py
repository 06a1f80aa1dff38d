"""The pairs of prompts that the bench asks, and what is counted apart of them."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from attrs import frozen

from argo_mw_similarity.language.lexicon import word_class
from argo_mw_similarity.language.text import flattened
from argo_mw_similarity.prompt import Prompts
from argo_mw_similarity.search.finder import not_compared


@frozen
class Case:
    """One pair of prompts."""

    file: str
    a: str
    b: str
    same: bool
    capability: str

    @property
    def pair(self) -> frozenset[str]:
        """The pair without its order."""
        return frozenset((self.a, self.b))


def cases_in(directory: Path) -> list[Case]:
    """The pairs of every CSV in *directory* that has the columns ``a``, ``b`` and ``same``."""
    cases = []
    for path in sorted(directory.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if not {"a", "b", "same"} <= set(rows.fieldnames or ()):
                continue
            cases += [
                Case(path.stem, r["a"], r["b"], r["same"].strip() == "1", r.get("capability") or "")
                for r in rows
            ]
    return cases


def apart() -> Callable[[Case], str]:
    """What says why a pair tells nothing of the policies, or ""."""
    prompts = Prompts(word_class("moment"))

    def why(case: Case) -> str:
        if flattened(case.a) == flattened(case.b):
            return "identical"
        if any(prompts.momentary(text) or not_compared(text) for text in case.pair):
            return "not_looked_up"
        return ""

    return why


def classes(cases: Iterable[Case]) -> dict[str, str]:
    """Prompt → a name of all that are labelled the same, directly or by way of others."""
    parent: dict[str, str] = {}

    def root(text: str) -> str:
        parent.setdefault(text, text)
        while parent[text] != text:
            parent[text] = parent[parent[text]]
            text = parent[text]
        return text

    for case in cases:
        a, b = root(case.a), root(case.b)
        if case.same:
            parent[a] = b
    return {text: root(text) for text in list(parent)}


def share(values: Sequence[float]) -> float:
    """The mean of *values*, which are not empty."""
    return round(sum(values) / len(values), 5)


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval for a share."""
    if trials == 0:
        return 0.0, 1.0
    part = successes / trials
    middle = part + z * z / (2 * trials)
    spread = z * math.sqrt(part * (1 - part) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return round(max(0.0, (middle - spread) / scale), 5), round((middle + spread) / scale, 5)
