"""The latencies of the last requests, and their quantiles.

A request that was cancelled because another upstream won has not shown its latency, only that
it is longer: it is right-censored. Leaving it out would make slow upstreams look fast, since only
their fast answers would count; counting it as an answer would make them look as fast as the winner.
The product-limit estimator handles it (Kaplan and Meier 1958, "Nonparametric Estimation from
Incomplete Observations").
"""

from __future__ import annotations

from collections import deque
from typing import Final

_MAX_REQUESTS: Final = 128
_PARTS: Final = 16
"""The estimates are made anew once this part of the window has changed."""
_ROUNDING: Final = 1e-9


class LatencyWindow:
    """The latencies of the last 128 requests.

    Args:
        quantile: The share of requests that :attr:`at_quantile` covers, between 0 and 1.

    Attributes:
        answers: How many answers were added so far.
    """

    __slots__ = ("_at_quantile", "_changes", "_median", "_quantile", "_requests", "answers")

    def __init__(self, quantile: float) -> None:
        self._quantile = quantile
        self._requests: deque[tuple[float, bool]] = deque(maxlen=_MAX_REQUESTS)
        self._at_quantile = 0.0
        self._median = 0.0
        self._changes = 0
        self.answers = 0

    def add(self, seconds: float, *, censored: bool) -> None:
        """Add a request that took *seconds*, or longer than that if it was *censored*."""
        self._requests.append((seconds, censored))
        self._changes += 1
        if not censored:
            self.answers += 1

    @property
    def at_quantile(self) -> float:
        """Seconds within which the share ``quantile`` of requests is answered."""
        self._refresh()
        return self._at_quantile

    @property
    def median(self) -> float:
        """Seconds within which half of the requests are answered; 0 while none is known."""
        self._refresh()
        return self._median

    def _refresh(self) -> None:
        # An estimate takes some 30 µs, so not for each request.
        if _PARTS * self._changes < len(self._requests) or not self._changes:
            return
        observed = sorted(self._requests)
        self._at_quantile = product_limit(observed, self._quantile)
        self._median = product_limit(observed, 0.5)
        self._changes = 0


def product_limit(observed: list[tuple[float, bool]], quantile: float) -> float:
    """Estimate the *quantile* of *observed* pairs (seconds, censored), in ascending order.

    If the censored ones leave it undetermined, the estimate is the longest time observed.
    """
    at_risk = len(observed)
    surviving = 1.0
    seconds = 0.0
    for seconds, censored in observed:
        if not censored:
            surviving *= 1 - 1 / at_risk
            if surviving <= 1 - quantile + _ROUNDING:
                return seconds
        at_risk -= 1
    return seconds
