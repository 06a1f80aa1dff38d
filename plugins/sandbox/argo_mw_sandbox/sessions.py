"""Trading sessions: the day that a minute belongs to, and when a day's bar is complete."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from attrs import frozen

from argo_mw_sandbox.bars import DAY, MINUTE

NEW_YORK = ZoneInfo("America/New_York")
UTC = ZoneInfo("UTC")
EPOCH = date(1970, 1, 1)


@frozen
class Market:
    """One market's hours.

    Attributes:
        name: ``stocks`` or ``crypto``.
        zone: The zone whose calendar days its daily bars follow.
        opens: Local minute of the day at which trading starts.
        closes: Local minute of the day at which it ends.
    """

    name: str
    zone: ZoneInfo
    opens: int
    closes: int

    def midnight(self, day: int) -> int:
        """Start of the local *day* (days since 1970), in seconds since the epoch."""
        return _midnight(self.zone, day)

    def session(self, day: int) -> tuple[int, int]:
        """Start and end of the *day*'s trading, in seconds since the epoch."""
        closes = 13 * 60 if self is STOCKS and closes_early(day) else self.closes
        midnight = self.midnight(day)
        return midnight + self.opens * MINUTE, midnight + closes * MINUTE

    def day_of(self, instant: float) -> int:
        """Return the local day (days since 1970) that holds an *instant*."""
        return (datetime.fromtimestamp(instant, self.zone).date() - EPOCH).days


STOCKS = Market("stocks", NEW_YORK, opens=9 * 60 + 30, closes=16 * 60)
CRYPTO = Market("crypto", UTC, opens=0, closes=DAY // MINUTE)


@lru_cache(maxsize=65_536)
def _midnight(zone: ZoneInfo, day: int) -> int:
    local = datetime.combine(EPOCH + timedelta(days=day), time(), zone)
    return int(local.timestamp())


@lru_cache(maxsize=65_536)
def closes_early(day: int) -> bool:
    """Return whether New York closes at 13:00: the day after Thanksgiving, 24 December, 3 July.

    Years differ in their exceptions; these three hold for the replayed overlap of 2012 and 2013.
    """
    when = EPOCH + timedelta(days=day)
    if when.month == 11:
        return when.weekday() == 4 and 23 <= when.day <= 29
    return (when.month, when.day) in ((12, 24), (7, 3)) and when.weekday() < 5
