"""The size of a batch, learned from how fast the sink takes rows."""

from __future__ import annotations

_WEIGHT = 0.1
_DISTINCT = 0.05


class BatchSize:
    """A batch size whose rows take about *target* seconds to write.

    A commit costs a fixed part, which a larger batch spreads over more rows, and a part for each
    row, which makes the others wait. The second is the slope of a line through the latest
    batches: least squares with exponentially fading weights. While batches are all of one size
    there is no slope to see, and the last one holds.

    Args:
        target: Seconds that the rows of a batch should take, the fixed part aside.
        smallest: The size to begin with, and never to go below.
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
        """Take into account that a batch of *rows* took *seconds*."""
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
        # At most twice or half of the last, so that one odd commit does not swing it.
        return min(max(wanted, self.size / 2), self.size * 2)

    def _by_whole(self, rows: int, seconds: float) -> float:
        # No slope to see yet. Were all of the time the rows' own, so many would fill the target;
        # the truth is more, never fewer, so the first batches may grow by leaps.
        if seconds >= self._target:
            # Where no slope was ever seen, a larger batch shows one: all may be the fixed part.
            return self.size if self._sloped else 2.0 * self.size
        return max(2.0 * self.size, rows * self._target / max(seconds, 1e-9))


def _power_of_two(size: float) -> int:
    """Return the largest power of two that is not above *size*: such a batch is one statement."""
    return 1 << (int(size).bit_length() - 1)
