"""Timeframes: how long a bar is, in the words of each vendor."""

from __future__ import annotations

import difflib
from typing import Literal

from attrs import frozen

from argo_mw.plugin import BadParameter

Unit = Literal["minute", "hour", "day"]
_SECONDS: dict[Unit, int] = {"minute": 60, "hour": 3600, "day": 86_400}


@frozen
class Timeframe:
    """The length of a bar.

    Attributes:
        name: What callers write; Alpaca's word for it.
        count: How many units.
        unit: Of what.
    """

    name: str
    count: int
    unit: Unit

    @property
    def seconds(self) -> int:
        """Its length in seconds."""
        return self.count * _SECONDS[self.unit]

    @property
    def daily(self) -> bool:
        """Whether a bar is a day."""
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
    """The timeframe called *name*.

    Raises:
        BadParameter: There is none.
    """
    frame = TIMEFRAMES.get(name) if isinstance(name, str) else None
    if frame is None:
        near = difflib.get_close_matches(str(name), TIMEFRAMES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        msg = f"there is no timeframe {name!r}{hint} Known are {', '.join(TIMEFRAMES)}"
        raise BadParameter(msg)
    return frame
