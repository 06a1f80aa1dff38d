"""Response times: log-normal, with an occasional stall."""

from __future__ import annotations

import math
import random

from attrs import field, frozen, validators

_NOT_NEGATIVE = validators.ge(0.0)
_SHARE = validators.and_(_NOT_NEGATIVE, validators.le(1.0))


@frozen
class Latency:
    """The distribution of a vendor's response times.

    Attributes:
        median: Seconds that half of the answers take at most; 0 answers at once.
        sigma: Standard deviation of the logarithm: 0 makes every answer take the median.
        stall_share: Share of requests that take longer still, 0 to 1.
        stall: Seconds that such a request takes on top.
    """

    median: float = field(default=0.0, validator=_NOT_NEGATIVE)
    sigma: float = field(default=0.0, validator=_NOT_NEGATIVE)
    stall_share: float = field(default=0.0, validator=_SHARE)
    stall: float = field(default=0.0, validator=_NOT_NEGATIVE)

    def draw(self, rng: random.Random) -> float:
        """Return the seconds that the next request takes, drawn from *rng*."""
        seconds = 0.0
        if self.median:
            seconds = self.median * math.exp(self.sigma * rng.gauss(0.0, 1.0))
        if self.stall_share and rng.random() < self.stall_share:
            seconds += self.stall
        return seconds


INSTANT = Latency()

TYPICAL: dict[str, Latency] = {
    "alpaca": Latency(0.060, 0.35, 0.01, 1.0),
    "massive": Latency(0.080, 0.40, 0.01, 1.0),
    "alphavantage": Latency(0.350, 0.50, 0.02, 3.0),
    "claude": Latency(0.900, 0.45, 0.01, 5.0),
    "deepseek": Latency(1.100, 0.60, 0.03, 8.0),
    "qwen": Latency(0.800, 0.55, 0.02, 6.0),
    "glm": Latency(0.900, 0.60, 0.02, 6.0),
    "openai": Latency(0.900, 0.50, 0.02, 6.0),
}
"""Assumed, not measured: plausible response times over the internet, for demos and load."""
