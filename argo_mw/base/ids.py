"""Identifiers that are made where a record is made, so that writing one twice changes nothing.

Those of :class:`TimeOrderedIds` are new each time: UUID version 7 (RFC 9562), 48 bits of
milliseconds, then random bits. Within one source they are monotonic (method 2 of section 6.2: the
random part is a counter that starts at a random value in each millisecond), so new rows land at the
end of an index. Those of :func:`derived_id` are equal wherever they are derived from the same: UUID
version 8, 48 bits of milliseconds, then a digest.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from argo_mw.base.entropy import random_bytes
from argo_mw.base.process import this_process

_VERSION = 7 << 76
_DERIVED = 8 << 76
_MILLISECONDS = (1 << 48) - 1
_HIGH = (1 << 12) - 1
_VARIANT = 2 << 62
_LOW = (1 << 62) - 1


class TimeOrderedIds:
    """A source of time-ordered identifiers, 16 bytes each.

    Args:
        now: Seconds since the epoch.
    """

    __slots__ = ("_milliseconds", "_now", "_owner", "_random")

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._milliseconds = -1
        self._random = 0
        self._owner = this_process.token

    def __call__(self) -> bytes:
        """Return the next identifier, greater than every one before it."""
        milliseconds = int(self._now() * 1000)
        # A forked child must not go on counting where its parent does.
        if milliseconds > self._milliseconds or self._owner is not this_process.token:
            self._owner = this_process.token
            self._milliseconds = max(milliseconds, self._milliseconds)
            # The two top bits start as zero, so that counting never overflows into the version.
            self._random = int.from_bytes(random_bytes(9), "big") & ((1 << 72) - 1)
        else:
            self._random += 1
        high, low = self._random >> 62, self._random & _LOW
        value = (self._milliseconds << 80) | _VERSION | (high << 64) | _VARIANT | low
        return value.to_bytes(16, "big")

    @staticmethod
    def first_at(seconds: float) -> bytes:
        """Return the smallest identifier of *seconds* since the epoch: earlier ones are smaller."""
        return (max(int(seconds * 1000), 0) << 80).to_bytes(16, "big")

    @staticmethod
    def is_derived(identifier: bytes) -> bool:
        """Return whether other instances may have derived this identifier too."""
        return identifier[6] >> 4 == _DERIVED >> 76

    @staticmethod
    def text(identifier: bytes) -> str:
        """Return the usual form of an identifier, for people and URLs."""
        return str(uuid.UUID(bytes=identifier))

    @staticmethod
    def parse(text: str) -> bytes:
        """Return the identifier that :meth:`text` wrote.

        Raises:
            ValueError: *text* is not an identifier.
        """
        return uuid.UUID(text).bytes


def derived_id(seconds: float, digest: str) -> bytes:
    """Return the identifier of what *digest* describes; identifiers sort by *seconds*.

    Args:
        seconds: The moment that it describes, in seconds since the epoch.
        digest: At least 19 hexadecimal digits.
    """
    milliseconds = min(max(int(seconds * 1000), 0), _MILLISECONDS)
    number = int(digest, 16)
    high, low = number >> 62 & _HIGH, number & _LOW
    value = (milliseconds << 80) | _DERIVED | (high << 64) | _VARIANT | low
    return value.to_bytes(16, "big")
