"""How far one answer is from another, for what judges whether a kept one would have done."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import TypeAlias

Distance: TypeAlias = Callable[[object, object], float | None]
"""Returns how far an answer, the first, is from a newer one, the second.

0 is equal, and 0.01 is a difference of one per cent of what matters; ``None`` where the two cannot
be compared.
"""


def how_far(kept: object, fresh: object) -> float | None:
    """Return the relative difference of two numbers; for all else, 0 if they are equal, or 1."""
    if _is_number(kept) and _is_number(fresh):
        return relative(float(kept), float(fresh))  # type: ignore[arg-type]
    return 0.0 if _equal(kept, fresh) else 1.0


def relative(kept: float, fresh: float) -> float:
    """Return how far *kept* is from *fresh*, as a share of *fresh*."""
    if kept == fresh or (math.isnan(kept) and math.isnan(fresh)):
        return 0.0
    if not (math.isfinite(kept) and math.isfinite(fresh)) or fresh == 0.0:
        return math.inf
    return abs(kept - fresh) / abs(fresh)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _equal(kept: object, fresh: object) -> bool:
    equals = getattr(kept, "equals", None)  # frames compare cell by cell with ==
    return bool(equals(fresh)) if callable(equals) else bool(kept == fresh)
