"""The size of a batch, learned from how fast the sink takes rows."""

from __future__ import annotations

_WEIGHT = 0.1
_DISTINCT = 0.05


class BatchSize:
    """A batch size whose rows take about *target* seconds to write.

    A commit costs a fixed time, which a larger batch spreads over more rows, and a time for each
    row, for which the others wait. The latter is the slope of a line through the latest batches:
    least squares with exponentially fading weights. While all batches have one size, there is no
    slope to measure, and the last one is used.

    Args:
        target: Seconds that the rows of a batch should take, without the fixed time.
        smallest: The first and smallest size.
        largest: The most rows in a batch.
    """

    def __init__(self, *, target: float, smallest: int, largest: int) -> None:
        self._target = target
        self._smallest = smallest
        self._largest = largest
        self._rows = self._seconds = self._variance = self._covariance = 0.0
        self._known = self._sloped = False
        self.size = smallest

    def learn(self, rows: int, seconds: float) -> None:
        """Adapt the size to a batch of *rows* that took *seconds*."""
        if not self._known:
            self._rows, self._seconds, self._known = float(rows), seconds, True
        off_rows, off_seconds = rows - self._rows, seconds - self._seconds
        self._rows += _WEIGHT * off_rows
        self._seconds += _WEIGHT * off_seconds
        keep = 1.0 - _WEIGHT
        self._variance = keep * (self._variance + _WEIGHT * off_rows * off_rows)
        self._covariance = keep * (self._covariance + _WEIGHT * off_rows * off_seconds)
        if rows >= self.size:
            wanted = self._by_slope() or self._by_whole(rows, seconds)
            self.size = _power_of_two(min(max(wanted, self._smallest), self._largest))

    def _by_slope(self) -> float | None:
        if self._variance <= (_DISTINCT * self._rows) ** 2 or self._covariance <= 0:
            return None
        self._sloped = True
        wanted = self._target * self._variance / self._covariance
        # At most double or half of the last size, so that one odd commit changes little.
        return min(max(wanted, self.size / 2), self.size * 2)

    def _by_whole(self, rows: int, seconds: float) -> float:
        # No slope was measured yet. Counting all of the time as the rows' own gives the fewest rows
        # that fill the target, never too many, so the first batches may grow fast.
        if seconds >= self._target:
            # A larger batch makes the slope measurable: until then, all may be the fixed time.
            return self.size if self._sloped else 2.0 * self.size
        return max(2.0 * self.size, rows * self._target / max(seconds, 1e-9))


def _power_of_two(size: float) -> int:
    """Return the largest power of two up to *size*: a batch of that size is one statement."""
    return 1 << (int(size).bit_length() - 1)
