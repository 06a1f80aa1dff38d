"""Clocks that jump, and clocks of instances that differ."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median_low
from typing import Final

from argo_mw.plugin import Clock

TOLERATED: Final = 600.0
"""Seconds by which clocks may differ or jump without consequence."""


class Jumps:
    """Notices when the wall clock of this instance is set, between two looks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: float | None = None

    def since_last(self) -> float:
        """Return by how many seconds the wall clock was set forward since the last call; or 0."""
        now = self._clock.time() - self._clock.monotonic()
        last, self._last = self._last, now
        jump = 0.0 if last is None else now - last
        return jump if abs(jump) > TOLERATED else 0.0


def in_time(alive: Mapping[str, float]) -> tuple[float, str]:
    """Return until when all instances have published, and which of them have deviating clocks.

    Args:
        alive: When each has published last, by its own clock; there is one at least.

    Returns:
        Seconds since the epoch, of those whose clocks agree; and what is wrong with the others, or
        "".
    """
    usual = median_low(alive.values())
    others = sorted(name for name, at in alive.items() if abs(at - usual) > TOLERATED)
    until = min(at for name, at in alive.items() if name not in others)
    if not others:
        return until, ""
    off = alive[others[0]] - usual
    side = "ahead of" if off > 0 else "behind"
    rest = f", and {len(others) - 1} more are off" if len(others) > 1 else ""
    return until, f"the clock of instance {others[0]} is {abs(off):.0f} s {side} the others'{rest}"
