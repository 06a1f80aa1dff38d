"""Ages: how long ago a time of the wall clock was, also after that clock was put back."""

from __future__ import annotations

from attrs import frozen

from argo_mw.base.clock import Clock

TOLERANCE = 0.005
"""Seconds that the wall clock may lose unnoticed: reading two clocks takes time."""

_MAX_STEPS = 16


@frozen
class _Step:
    """The wall clock was put back.

    Attributes:
        until: What it showed, or would have shown, when this was noticed.
        seconds: By how much.
    """

    until: float
    seconds: float


class Ages:
    """Tells ages that never shrink, for one process.

    A time that the wall clock had passed before it was put back counts as a time from before: it is
    older than the clock says, by as much as that was put back. So what is stamped right after such
    a step counts as older than it is, until the clock has caught up. A clock that is put forward
    makes everything older, as it says itself.

    Args:
        clock: The wall clock, and the monotonic one that tells when it was put back.
    """

    __slots__ = ("_ahead", "_clock", "_steps")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._steps: list[_Step] = []
        self._ahead = clock.time() - clock.monotonic()

    def observe(self, before: float) -> float:
        """Return the time of the wall clock; notice whether it was put back since the last look.

        *before* is the monotonic time, read just before.
        """
        clock = self._clock
        wall = clock.time()
        at_most = wall - before
        if at_most < self._ahead - TOLERANCE:
            at_least = wall - clock.monotonic()
            self._put_back(before + self._ahead, self._ahead - at_least)
            self._ahead = at_least
        elif at_most > self._ahead:
            self._ahead = max(self._ahead, wall - clock.monotonic())
        return wall

    def since(self, moment: float) -> float:
        """Return the seconds since wall time *moment*; less than 0 if it is yet to come."""
        age = self.observe(self._clock.monotonic()) - moment
        for step in self._steps:
            if moment <= step.until:
                age += step.seconds
        return age

    def _put_back(self, until: float, seconds: float) -> None:
        steps = self._steps
        if steps:
            # What may be from before an earlier step may be from before this one as well.
            until = max(until, steps[-1].until)
        if len(steps) == _MAX_STEPS:
            first, second = steps[:2]
            steps[:2] = [_Step(second.until, first.seconds + second.seconds)]
        steps.append(_Step(until, seconds))
