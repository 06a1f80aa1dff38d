"""Bars: what figures must be, declared in ``bars.toml``, and whether they are."""

from __future__ import annotations

import operator
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from attrs import frozen

Kind = Literal["ratios", "absolute"]

FILE = Path(__file__).with_name("bars.toml")
RELATIONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}


@frozen
class Bar:
    """What one figure of one bench must be.

    Attributes:
        bench: The bench's name.
        key: The figure's key; a dot goes one level deeper.
        relation: One of :data:`RELATIONS`.
        limit: What the figure is compared with.
        kind: ``ratios`` hold on every machine and decide, ``absolute`` ones do not.
    """

    bench: str
    key: str
    relation: str
    limit: float
    kind: Kind = "ratios"

    def judge(self, figures: Mapping[str, object]) -> Verdict:
        """Whether *figures* of the bench meet it."""
        value = _at(figures, self.key)
        met = value is not None and RELATIONS[self.relation](value, self.limit)
        return Verdict(self, value, met)


@frozen
class Verdict:
    """How a figure stands to its bar.

    Attributes:
        bar: The bar.
        value: The figure, or ``None`` when the bench has not given it.
        met: Whether it meets the bar; a figure that is missing does not.
    """

    bar: Bar
    value: float | None
    met: bool

    @property
    def fails(self) -> bool:
        """Whether ``--check`` fails for it."""
        return not self.met and (self.bar.kind == "ratios" or self.value is None)

    def line(self) -> str:
        """The verdict for people."""
        bar = self.bar
        value = "not measured" if self.value is None else f"{self.value:g}"
        beside = "" if bar.kind == "ratios" else ", on this machine"
        word = "met   " if self.met else "MISSED"
        return f"{word} {bar.bench}.{bar.key} {value} (bar {bar.relation} {bar.limit:g}{beside})"

    def plain(self) -> dict[str, object]:
        """The verdict for JSON."""
        bar = self.bar
        return {
            "bench": bar.bench,
            "key": bar.key,
            "bar": f"{bar.relation} {bar.limit:g}",
            "kind": bar.kind,
            "value": self.value,
            "met": self.met,
        }


def declared(file: Path = FILE) -> list[Bar]:
    """The bars of *file*.

    Raises:
        ValueError: One of them cannot be read.
    """
    tables = tomllib.loads(file.read_text("utf-8"))
    kinds: tuple[Kind, ...] = ("ratios", "absolute")
    if unknown := set(tables) - set(kinds):
        msg = f"{file.name} has tables of the kinds {sorted(unknown)}; there are {kinds}"
        raise ValueError(msg)
    return [
        _bar(bench, key, text, kind)
        for kind in kinds
        for bench, bars in tables.get(kind, {}).items()
        for key, text in bars.items()
    ]


def verdicts(bars: Sequence[Bar], bench: str, figures: Mapping[str, object]) -> list[Verdict]:
    """How the *figures* of *bench* stand to those of *bars* that are its own."""
    return [bar.judge(figures) for bar in bars if bar.bench == bench]


def _bar(bench: str, key: str, text: str, kind: Kind) -> Bar:
    relation, _, limit = text.partition(" ")
    if relation not in RELATIONS:
        msg = f"{bench}.{key} = {text!r}: a bar is a relation, a blank and a number, as in '<= 3'"
        raise ValueError(msg)
    return Bar(bench, key, relation, float(limit), kind)


def _at(figures: Mapping[str, object], key: str) -> float | None:
    found: object = figures
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, int | float) else None
