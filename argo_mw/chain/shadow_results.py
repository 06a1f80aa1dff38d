"""What layers in shadow would have done: counted by layer and operation, in bounded memory."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

from attrs import define, field

from argo_mw.model.events import Shadowed

_MAX_OPERATIONS = 1_000
_SAMPLED = 1_000
"""Distances of which quantiles are known; beyond, a random sample of that size."""


@define
class ShadowResult:
    """What one layer would have done with the calls of one operation.

    Attributes:
        calls: The calls that it was shown.
        hits: Those that it would have answered.
        requests: The requests that these have sent, and would not have.
        usd: What these have cost, as far as that is known.
        unpriced: How many of these have cost nobody knows what.
        compared: How many kept answers were compared with the new one.
        unequal: How many of them differed from it.
        furthest: The greatest distance seen.
    """

    calls: int = 0
    hits: int = 0
    requests: float = 0.0
    usd: float = 0.0
    unpriced: int = 0
    compared: int = 0
    unequal: int = 0
    furthest: float = 0.0
    _sample: list[float] = field(factory=list, repr=False)

    def count(self, event: Shadowed) -> None:
        """Count what *event* tells of."""
        self.calls += 1
        if not event.would_hit:
            return
        self.hits += 1
        self.requests += event.saved.requests
        if event.saved.usd is None:
            self.unpriced += 1
        else:
            self.usd += event.saved.usd
        if event.distance is not None:
            self._measure(event.distance)

    def quantile(self, share: float) -> float | None:
        """Return the distance that a *share* of kept answers does not pass; ``None`` before any."""
        if not self._sample:
            return None
        ordered = sorted(self._sample)
        return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]

    def __str__(self) -> str:
        if not self.calls:
            return "it was shown no call yet"
        would = f"of {self.calls} calls it would have answered {self.hits}"
        if not self.hits:
            return would
        unpriced = f" and what {self.unpriced} calls cost" if self.unpriced else ""
        saved = f"saved {self.requests:g} requests and {self.usd:.4g} USD{unpriced}"
        return f"{would} ({self.hits / self.calls:.0%}), {saved}{self._distances()}"

    def _distances(self) -> str:
        if not self.compared:
            return ""
        if not self.unequal:
            return f"; all of {self.compared} kept answers were equal to the new one"
        half, most = self.quantile(0.5), self.quantile(0.95)
        return (
            f"; {self.unequal} of {self.compared} kept answers differed from the new one: half by "
            f"at most {half:.3%}, 95 of 100 by at most {most:.3%}, one by {self.furthest:.3%}"
        )

    def _measure(self, distance: float) -> None:
        self.compared += 1
        self.unequal += distance > 0.0
        self.furthest = max(self.furthest, distance)
        if len(self._sample) < _SAMPLED:
            self._sample.append(distance)
        elif (place := random.randrange(self.compared)) < _SAMPLED:
            self._sample[place] = distance


class ShadowResults:
    """What the layers of one application would have done since it was opened."""

    def __init__(self) -> None:
        self._results: dict[tuple[str, str], ShadowResult] = {}

    @property
    def all(self) -> Mapping[tuple[str, str], ShadowResult]:
        """The results, by the names of layer and operation."""
        return dict(self._results)

    def of(self, layer: str, operation: str) -> ShadowResult:
        """Return what *layer* would have done with the calls of *operation*."""
        return self._results.get((layer, operation), ShadowResult())

    def count(self, event: Shadowed) -> None:
        """Count what *event* tells of."""
        place = (event.layer, event.call.operation.name)
        if place not in self._results:
            if len(self._results) >= _MAX_OPERATIONS:
                return
            self._results[place] = ShadowResult()
        self._results[place].count(event)
