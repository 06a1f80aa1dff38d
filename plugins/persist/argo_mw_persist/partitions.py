"""Partitions: the ranges of identifiers, and so of time, into which a table is divided.

All instances divide time in the same way, into slots that begin at multiples of their width since
the epoch. Rows older than the retention share one partition, and so do rows in the far future, so
that wrongly dated rows do not each make a partition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

_DAY = 86_400_000
_HOUR = 3_600_000
_SHARE = 12
_RANDOM_BITS = 80
_END_OF_TIME = 1 << 48
_LAST = bytes([255] * 16)
_FAR = 100
"""The number of slots after the present one; later rows share one partition."""
_AHEAD = 2
_DEFAULT_DAYS = 365.0


@frozen
class Partition:
    """A part of a table.

    Attributes:
        name: Its name in SQL.
        start: Its first identifier, or ``None`` if it holds all older ones.
        end: The first identifier after it, or ``None`` if it holds all newer ones.
    """

    name: str
    start: bytes | None
    end: bytes | None

    def holds(self, identifier: bytes) -> bool:
        """Return whether the row with *identifier* belongs here."""
        after_start = self.start is None or self.start <= identifier
        return after_start and (self.end is None or identifier < self.end)


def width(days: float) -> float:
    """Return the seconds that a partition spans: a twelfth of *days*, in whole days or hours.

    Args:
        days: For how long rows are kept.
    """
    return _width(days) / 1000


def _width(days: float) -> int:
    unit = _DAY if days >= _SHARE else _HOUR
    return max(round(days * _DAY / _SHARE / unit), 1) * unit


class Slots:
    """The division of time for one table.

    Args:
        days: For how long its rows are kept.
        now: Seconds since the epoch.
    """

    def __init__(self, days: float, now: float) -> None:
        self._width = _width(days)
        present = int(now * 1000)
        self._present = self._slot(present)
        self._old = self._slot(present - int(days * _DAY))

    @classmethod
    def of(cls, table: str, days: Mapping[str, float], now: float) -> Slots:
        """Return the slots of *table*, even if no retention is configured for it."""
        return cls(days.get(table, _DEFAULT_DAYS), now)

    def end(self) -> bytes:
        """Return the end of the present slot."""
        return _border(self._present + self._width) or _LAST

    def ahead(self) -> list[bytes]:
        """Return an identifier in the present slot, and one in each slot that follows soon."""
        starts = (self._present + step * self._width for step in range(_AHEAD + 1))
        return [border for start in starts if (border := _border(start)) is not None]

    def missing(
        self, identifiers: Iterable[bytes], existing: Sequence[Partition]
    ) -> list[tuple[bytes | None, bytes | None]]:
        """Return the bounds of the partitions that *identifiers* need and *existing* lack."""
        known, found = list(existing), []
        for identifier in sorted(identifiers):
            if not any(one.holds(identifier) for one in known):
                start, end = self._around(identifier, known)
                known.append(Partition("", start, end))
                found.append((start, end))
        return found

    def _around(
        self, identifier: bytes, known: Sequence[Partition]
    ) -> tuple[bytes | None, bytes | None]:
        before = max((p.end for p in known if p.end and p.end <= identifier), default=None)
        after = min((p.start for p in known if p.start and p.start > identifier), default=None)
        slot = self._slot(_milliseconds(identifier))
        start, end = _border(slot), _border(slot + self._width)
        if slot < self._old:
            start, end = None, _border(self._old)
        elif slot >= self._present + _FAR * self._width:
            end = None
        starts = [border for border in (start, before) if border is not None]
        ends = [border for border in (end, after) if border is not None]
        return max(starts, default=None), min(ends, default=None)

    def _slot(self, milliseconds: int) -> int:
        return max(milliseconds, 0) // self._width * self._width


def _milliseconds(identifier: bytes) -> int:
    return int.from_bytes(identifier, "big") >> _RANDOM_BITS


def _border(milliseconds: int) -> bytes | None:
    if milliseconds >= _END_OF_TIME:
        return None
    return (milliseconds << _RANDOM_BITS).to_bytes(16, "big")
