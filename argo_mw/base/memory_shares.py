"""Dividing the memory of an application among its parts."""

from __future__ import annotations

from attrs import frozen


@frozen
class MemoryShares:
    """Says how much each part of an application may keep in memory.

    A part asks how many bytes or items its share comes to. Its own bound holds as well: the total
    can lower that bound but never raises it.

    Attributes:
        total: Bytes for all parts together; ``None`` leaves each part its own bound.
    """

    total: int | None = None

    def bytes_within(self, share: float, at_most: int) -> int:
        """Return how many bytes a part may keep.

        Args:
            share: Its share of the total, between 0 and 1.
            at_most: Its own bound, in bytes.
        """
        return at_most if self.total is None else min(at_most, int(self.total * share))

    def items_within(self, share: float, item_bytes: int, at_most: int) -> int:
        """Return how many items a part may keep, one at least.

        Args:
            share: Its share of the total, between 0 and 1.
            item_bytes: Bytes that one item takes at most, or about.
            at_most: Its own bound, in items.
        """
        if self.total is None:
            return at_most
        return max(1, min(at_most, int(self.total * share / item_bytes)))
