"""Slots of templated prompts: equal within a tolerance, without any embedding."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TypeGuard

from attrs import frozen

_FORM = re.compile(r"^\s*+(\d+(?:\.\d+)?)\s*+(?:(bps?|%|points?|s|min|h)\s*+)?$")
_RELATIVE = {"bp": 1e-4, "bps": 1e-4, "%": 1e-2}
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@frozen
class Tolerance:
    """How far a slot may differ.

    Attributes:
        absolute: The largest difference that does not matter.
        relative: The same, as a share of the value that was answered.
        ignored: Whether the slot does not matter at all.
    """

    absolute: float = 0.0
    relative: float = 0.0
    ignored: bool = False

    def covers(self, asked: object, known: object) -> bool:
        """Return whether an answer to *known* may serve *asked*."""
        if self.ignored:
            return True
        if type(asked) is type(known) and asked == known:
            return True
        if not (_is_number(asked) and _is_number(known)):
            return False
        # Integers are subtracted as such: as floats, identifiers above 2**53 would be equal.
        try:
            off = float(abs(asked - known))
            allowed = max(self.absolute, self.relative * abs(known))
        except OverflowError:
            return False
        # A rounding error of the subtraction must not decide at the very edge.
        return math.isfinite(off) and off <= allowed * (1 + 1e-9)


exact = Tolerance()
"""A slot that must be equal."""


def parse_tolerance(value: object, *, slot: str) -> Tolerance:
    """Return the tolerance that *value* states.

    It is ``"10bp"``, ``"0.5%"``, ``"1"``, ``"1 point"``, ``"5min"``, ``"any"``, ``"exact"`` or a
    number.

    Raises:
        ValueError: *value* is none of these; the message names *slot*.
    """
    if isinstance(value, Tolerance):
        return value
    text = str(value).strip().lower()
    if text == "any":
        return Tolerance(ignored=True)
    if text == "exact":
        return exact
    match = _FORM.match(text)
    if match is None or isinstance(value, bool):
        msg = (
            f"the tolerance of slot {slot!r} is {value!r}: write '10bp', '0.5%', '1', '5min', "
            "'any' or 'exact'"
        )
        raise ValueError(msg)
    amount, unit = float(match[1]), match[2] or ""
    if unit in _RELATIVE:
        return Tolerance(relative=amount * _RELATIVE[unit])
    return Tolerance(absolute=amount * _SECONDS.get(unit, 1.0))


def mismatch(
    asked: Mapping[str, object], known: Mapping[str, object], tolerances: Mapping[str, Tolerance]
) -> str:
    """Return the first slot that differs by more than its tolerance, or ""."""
    if asked.keys() != known.keys():
        return min(asked.keys() ^ known.keys())
    for name, value in asked.items():
        if not tolerances.get(name, exact).covers(value, known[name]):
            return name
    return ""


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
