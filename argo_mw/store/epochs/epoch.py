"""The epoch of a part of a store, as the number that the store keeps."""

from __future__ import annotations

import os
from typing import Final

from attrs import frozen

FIRST: Final = 0
LOST: Final = 1
ACCEPTED: Final = 2
REBUILT: Final = 3
_UNITS: Final = 1024
"""How finely a millisecond is divided, so that no two epochs are alike."""
_PRECISION: Final = 0.001


@frozen
class Epoch:
    """A time in which a store has counted without loss.

    Attributes:
        number: The counter's value: when it began, and how.
    """

    number: int

    @property
    def began(self) -> float:
        """Seconds since the epoch at which it began."""
        return self.number // _UNITS / 1_000

    @property
    def lost(self) -> bool:
        """Whether it began because the store had lost what it counted, and nobody accepted that."""
        return self.number % 4 == LOST

    def knows(self, began: float) -> bool:
        """Return whether counts of a period that *began* then, in seconds, are complete."""
        return not self.lost or began >= self.began + _PRECISION

    def follows(self, known: int) -> bool:
        """Return whether a store that was in the epoch *known* can be in this one.

        One that is older is a store that was put back; one that knows of no loss was begun by a
        process that had never seen the store.
        """
        return self.number == known or (self.number > known and self.number % 4 != FIRST)


def next_epoch(time: float, after: int, kind: int) -> int:
    """Return the number of an epoch that begins at *time*, in seconds, and *after* another.

    Args:
        time: Now, in seconds since the epoch.
        after: The number of the last epoch that is known; 0 for none.
        kind: How it begins: as the first, after a loss, after an accepted one, or after
            one made good.
    """
    now = int(time * 1_000) * _UNITS + os.urandom(1)[0] * 4
    return max(now, after // 4 * 4 + 4) + kind
