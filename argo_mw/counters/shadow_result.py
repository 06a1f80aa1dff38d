"""What a layer in shadow would have done with the calls of one operation, as a mergeable value."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from argo_mw.base.histogram import Histogram
from argo_mw.counters.plain_data import mapping_of, numbers_of
from argo_mw.model.events import Shadowed


@define
class ShadowResult:
    """What one layer would have done with the calls of one operation.

    Attributes:
        calls: The calls that it was shown.
        hits: Those that it would have answered.
        requests: The requests that these have sent, and would not have.
        usd: What these have cost in US dollars, as far as that is known.
        unpriced: How many of these have an unknown cost.
        distances: How far the kept answer was from the new one, of those that were compared: 0
            where they were equal, or less than a millionth apart.
        furthest: The greatest distance seen.
    """

    calls: int = 0
    hits: int = 0
    requests: float = 0.0
    usd: float = 0.0
    unpriced: int = 0
    distances: Histogram = field(factory=Histogram)
    furthest: float = 0.0

    @property
    def compared(self) -> int:
        """How many kept answers were compared with the new one."""
        return self.distances.count

    @property
    def unequal(self) -> int:
        """How many of them differed from it."""
        return self.distances.count - self.distances.zeros

    def count(self, event: Shadowed) -> None:
        """Count what *event* reports."""
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
            self.distances.add(event.distance)
            self.furthest = max(self.furthest, event.distance)

    def add(self, other: ShadowResult) -> None:
        """Count what *other* has counted, too."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.distances.merge(other.distances)
        self.furthest = max(self.furthest, other.furthest)

    def as_data(self) -> dict[str, object]:
        """Return it as plain data, from which :meth:`of_data` makes it again."""
        numbers = {name: getattr(self, name) for name in (*_NUMBERS, "furthest")}
        return {**numbers, "distances": self.distances.as_data()}

    @classmethod
    def of_data(cls, data: object) -> ShadowResult:
        """Return the result that *data* describes; numbers that it lacks are 0.

        Raises:
            ValueError: It is not such data.
        """
        try:
            fields = mapping_of(data)
            numbers: dict[str, Any] = numbers_of(
                {name: fields.get(name, 0) for name in (*_NUMBERS, "furthest")}
            )
            return cls(**numbers, distances=Histogram.of_data(fields["distances"]))
        except (KeyError, TypeError) as error:
            msg = "this is not a result of a layer in shadow"
            raise ValueError(msg) from error

    def __str__(self) -> str:
        if not self.calls:
            return "it was shown no call yet"
        would = f"of {self.calls} calls it would have answered {self.hits}"
        if not self.hits:
            return would
        unpriced = f" and what {self.unpriced} calls cost" if self.unpriced else ""
        saved = f"saved {self.requests:g} requests and {self.usd:.4g} USD{unpriced}"
        return f"{would} ({self.hits / self.calls:.0%}), {saved}{self._far()}"

    def _far(self) -> str:
        if not self.compared:
            return ""
        if not self.unequal:
            return f"; all of {self.compared} kept answers were equal to the new one"
        half, most = self.distances.quantile(0.5), self.distances.quantile(0.95)
        return (
            f"; {self.unequal} of {self.compared} kept answers differed from the new one: half by "
            f"at most {half:.3%}, 95 of 100 by at most {most:.3%}, one by {self.furthest:.3%}"
        )


_NUMBERS = ("calls", "hits", "requests", "usd", "unpriced")
