"""When rounds are due: every so often, around the clock or while an exchange trades.

With an exchange's calendar, the first round of a session is due at its opening and none after its
close; a lunch break divides a day into two sessions.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from attrs import field, frozen, validators

from argo_mw.plugin import ConfigError

_BEFORE: Final = timedelta(days=10)
_AHEAD: Final = timedelta(days=40)

Session = tuple[float, float]
"""When trading begins and ends, in seconds since the epoch."""


@frozen
class Schedule:
    """When rounds are due.

    Attributes:
        every: Seconds between two rounds, a tenth at least.
        calendar: The exchange whose sessions they are in, as ``exchange_calendars`` calls it
            (``XNYS``); "" for rounds around the clock.
    """

    every: float = field(validator=[validators.ge(0.1), validators.lt(math.inf)])
    calendar: str = ""

    def next_after(self, moment: float) -> float:
        """Return when the first round behind *moment* is due, both in seconds since the epoch.

        It may read a calendar from disk: call it in a thread.

        Raises:
            ConfigError: There is no such calendar, or it has no session soon.
        """
        if not self.calendar:
            return (math.floor(moment / self.every) + 1) * self.every
        sessions = _sessions(self.calendar, datetime.fromtimestamp(moment, UTC).strftime("%Y-%m"))
        at = max(0, bisect_right(sessions, (moment, math.inf)) - 1)
        for begins, ends in sessions[at:]:
            due = begins + max(0, math.floor((moment - begins) / self.every) + 1) * self.every
            if moment < due <= ends:
                return due
        msg = f"the calendar {self.calendar} has no session in the next weeks"
        raise ConfigError(msg)

    def missed(self, after: float, before: float) -> int:
        """Return how many rounds were due between two moments, in seconds since the epoch.

        Args:
            after: The first moment, in seconds since the epoch; a round due then does not count.
            before: The last moment, in seconds since the epoch; nor does one due then.
        """
        count = 0
        due = self.next_after(after)
        while due < before:
            count += 1
            due = self.next_after(due)
        return count


@lru_cache(maxsize=32)
def _sessions(calendar: str, month: str) -> Sequence[Session]:
    """Return the sessions around *month*, in order.

    Raises:
        ConfigError: There is no such calendar, or no library that knows any.
    """
    try:
        import exchange_calendars
        from exchange_calendars.errors import InvalidCalendarName
    except ImportError:
        msg = f"to know the calendar {calendar}, install argo-mw-fleet[calendars]"
        raise ConfigError(msg) from None
    first = datetime.strptime(month, "%Y-%m")  # noqa: DTZ007 - dates of the exchange's own
    start, end = (first - _BEFORE).date(), (first + timedelta(days=31) + _AHEAD).date()
    try:
        known = exchange_calendars.get_calendar(calendar, start=str(start), end=str(end))
    except InvalidCalendarName:
        msg = f"there is no calendar {calendar!r}; name one of exchange_calendars, such as XNYS"
        raise ConfigError(msg) from None
    table = known.schedule
    found: list[Session] = []
    for opens, pauses, resumes, closes in zip(
        *(
            [None if cell is None or cell != cell else cell.timestamp() for cell in table[name]]
            for name in ("open", "break_start", "break_end", "close")
        ),
        strict=True,
    ):
        if pauses is None or resumes is None:
            found.append((opens, closes))
        else:
            found += [(opens, pauses), (resumes, closes)]
    return found
