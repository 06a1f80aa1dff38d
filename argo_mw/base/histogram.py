"""Histograms with buckets of equal ratio, which merge without loss."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import ceil, log2
from typing import Final

from msgspec import MsgspecError, msgpack

SCALE: Final = 5
"""The scale in OpenTelemetry's terms: 2**5 buckets for each doubling, so a quantile is off by 1.1 %
at most."""

_PER_DOUBLING: Final = 2**SCALE
_LEAST: Final = 2.0**-20
_GREATEST: Final = 2.0**31


class Histogram:
    """Counts values above zero, each in the bucket of its magnitude.

    The buckets are those of OpenTelemetry's exponential histograms: bucket *i* holds what is above
    ``2**(i / 32)`` and at most ``2**((i + 1) / 32)``. Values below a millionth count as zero,
    so there are at most 1,632 buckets.

    Attributes:
        zeros: How many values were zero, or less than a millionth.
        buckets: How many values each bucket holds, without empty ones.
        sum: The sum of the values.
    """

    __slots__ = ("buckets", "sum", "zeros")

    def __init__(
        self, zeros: int = 0, total: float = 0.0, buckets: Mapping[int, int] | None = None
    ) -> None:
        self.zeros = zeros
        self.sum = total
        self.buckets: defaultdict[int, int] = defaultdict(int, buckets or {})

    def add(self, value: float, times: int = 1) -> None:
        """Count *value*, *times* over; NaN is ignored."""
        if value > _LEAST:
            if value > _GREATEST:
                value = _GREATEST
            self.buckets[ceil(log2(value) * _PER_DOUBLING) - 1] += times
            self.sum += value * times
        elif value == value:
            self.zeros += times

    def add_all(self, values: Iterable[float]) -> None:
        """Count *values*, each as :meth:`add` does, in a third of its time."""
        buckets = self.buckets
        for value in values:
            if _LEAST < value <= _GREATEST:
                buckets[ceil(log2(value) * _PER_DOUBLING) - 1] += 1
                self.sum += value
            else:
                self.add(value)

    def merge(self, other: Histogram) -> None:
        """Count what *other* has counted, too."""
        self.zeros += other.zeros
        self.sum += other.sum
        for index, count in other.buckets.items():
            self.buckets[index] += count

    def since(self, before: Histogram) -> Histogram:
        """Return what was counted after *before*, which is an earlier state of this histogram."""
        found = Histogram(max(0, self.zeros - before.zeros), max(0.0, self.sum - before.sum))
        for index, count in self.buckets.items():
            if (added := count - before.buckets.get(index, 0)) > 0:
                found.buckets[index] = added
        return found

    @property
    def count(self) -> int:
        """How many values were counted."""
        return self.zeros + sum(self.buckets.values())

    @property
    def mean(self) -> float | None:
        """The mean of the values, or ``None`` without any."""
        count = self.count
        return self.sum / count if count else None

    def quantile(self, share: float, *, zeros: int = 0) -> float | None:
        """Return the value that *share* of the values do not exceed; ``None`` without any.

        Args:
            share: Between 0 and 1.
            zeros: Further values of zero to count in, such as answers at hand, which took no time.
        """
        total = self.count + zeros
        if not total:
            return None
        rank = share * (total - 1)
        passed = self.zeros + zeros
        if rank < passed:
            return 0.0
        for index in sorted(self.buckets):
            passed += self.buckets[index]
            if rank < passed:
                return _middle(index)
        return _middle(max(self.buckets))

    def above(self, value: float) -> int:
        """Return how many values are in buckets above that of *value*."""
        if value <= _LEAST:
            return self.count - self.zeros
        index = ceil(log2(value) * _PER_DOUBLING) - 1
        return sum(count for at, count in self.buckets.items() if at > index)

    def as_data(self) -> list[object]:
        """Return it as plain data, from which :meth:`of_data` makes it again."""
        return [self.zeros, self.sum, msgpack.encode(self.buckets)]

    @classmethod
    def of_data(cls, data: Iterable[object]) -> Histogram:
        """Return the histogram that *data* describes.

        Raises:
            ValueError: It is not such data.
        """
        try:
            zeros, total, packed = data
            buckets = msgpack.decode(packed, type=dict[int, int])  # type: ignore[call-overload]
            return cls(int(zeros), float(total), buckets)  # type: ignore[call-overload,arg-type]
        except (MsgspecError, TypeError, ValueError) as error:
            msg = "this is not a histogram"
            raise ValueError(msg) from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return (self.zeros, self.buckets) == (other.zeros, other.buckets)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Histogram of {self.count} values, median {self.quantile(0.5)}>"


def _middle(index: int) -> float:
    """Return the geometric middle of bucket *index*."""
    return float(2.0 ** ((index + 0.5) / _PER_DOUBLING))
