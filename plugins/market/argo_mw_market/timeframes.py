"""Timeframes: how long a bar is."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from argo_mw.plugin import BadParameter, suggest

Unit = Literal["minute", "hour", "day"]
_SECONDS: dict[Unit, int] = {"minute": 60, "hour": 3600, "day": 86_400}


@frozen
class Timeframe:
    """The length of a bar.

    Attributes:
        name: Its name in calls, which is also Alpaca's.
        count: How many units.
        unit: The unit.
    """

    name: str
    count: int
    unit: Unit

    @property
    def seconds(self) -> int:
        """Return its length in seconds."""
        return self.count * _SECONDS[self.unit]

    @property
    def daily(self) -> bool:
        """Return whether a bar is a day."""
        return self.unit == "day"


TIMEFRAMES = {
    frame.name: frame
    for frame in (
        Timeframe("1Min", 1, "minute"),
        Timeframe("5Min", 5, "minute"),
        Timeframe("15Min", 15, "minute"),
        Timeframe("30Min", 30, "minute"),
        Timeframe("1Hour", 1, "hour"),
        Timeframe("1Day", 1, "day"),
    )
}
"""The timeframes that all vendors have in common."""


def read_timeframe(name: object) -> Timeframe:
    """Return the timeframe called *name*.

    Raises:
        BadParameter: There is none.
    """
    frame = TIMEFRAMES.get(name) if isinstance(name, str) else None
    if frame is None:
        hint = suggest(name if isinstance(name, str) else "", TIMEFRAMES)
        msg = f"there is no timeframe {name!r:.60}: {hint}"
        raise BadParameter(msg)
    return frame
