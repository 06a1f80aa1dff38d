"""Changes of percentiles, for reports: no verdict comes from them.

What guards against slow calls are the shares that are slower than control's percentiles. People ask
for the percentile itself: its interval is that of its rank, which is a share like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log, sqrt

from argo_mw_rollout.statistics.sequence import BEST_AT, boundary

Quantile = Callable[[float], float | None]
"""Returns the value that a share of all calls does not exceed."""

_READABLE = 0.025
_SPREAD = 2.0
"""How many times more the share of slow calls varies than if calls were independent."""


def percentile_change(
    treatment: Quantile, control: Quantile, calls: tuple[float, float], share: float
) -> tuple[float, float, float] | None:
    """Return the relative change of a percentile, and the ends of its interval.

    Args:
        treatment: The quantiles of treatment.
        control: Those of control.
        calls: How many calls each of them is of.
        share: Which percentile: 0.99 for the 99th.

    Returns:
        The change and both ends, as parts of control's percentile, or ``None`` where there are too
        few calls for an interval.
    """
    bound = float(boundary(BEST_AT, _READABLE))
    middles, below, above = [], [], []
    for quantile, number in zip((treatment, control), calls, strict=True):
        if number <= 0.0:
            return None
        half = bound * sqrt(share * (1.0 - share) * _SPREAD / number)
        if share + half >= 1.0 or share - half <= 0.0:
            return None
        found = [quantile(share + shift) for shift in (-half, 0.0, half)]
        low, middle, high = (one or 0.0 for one in found)
        if low <= 0.0:
            return None
        middles.append(log(middle))
        below.append(log(middle) - log(low))
        above.append(log(high) - log(middle))
    change = middles[0] - middles[1]
    low = change - sqrt(below[0] ** 2 + above[1] ** 2)
    high = change + sqrt(above[0] ** 2 + below[1] ** 2)
    return exp(change) - 1.0, exp(low) - 1.0, exp(high) - 1.0
