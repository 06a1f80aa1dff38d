"""Ages: how long ago a wall-clock time was, even after the clock was set back."""

from __future__ import annotations

from attrs import frozen

from argo_mw.base.clock import Clock

TOLERANCE = 0.005
"""Seconds by which the wall clock may be set back unnoticed: reading two clocks takes time."""

_MAX_STEPS = 16


@frozen
class _Step:
    """A moment at which the wall clock was set back.

    Attributes:
        until: What the clock would have shown, without the step, when the step was noticed.
        seconds: By how much it was set back.
    """

    until: float
    seconds: float


class Ages:
    """Computes ages that never shrink within one process.

    When the clock is set back, every timestamp that it had already passed counts as taken before
    the step, so the size of the step is added to its age. A timestamp taken right after the step
    therefore looks older than it is, until the clock has caught up. A clock set forward needs no
    correction.

    Args:
        clock: The wall clock, and the monotonic clock that reveals a step.
    """

    __slots__ = ("_ahead", "_clock", "_steps")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._steps: list[_Step] = []
        self._ahead = clock.time() - clock.monotonic()

    def observe(self, before: float) -> float:
        """Return the time of the wall clock; notice whether it was set back since the last reading.

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
        """Return the seconds since wall time *moment*; negative if it lies in the future."""
        age = self.observe(self._clock.monotonic()) - moment
        for step in self._steps:
            if moment <= step.until:
                age += step.seconds
        return age

    def _put_back(self, until: float, seconds: float) -> None:
        steps = self._steps
        if steps:
            # A timestamp that may predate an earlier step may predate this one as well.
            until = max(until, steps[-1].until)
        if len(steps) == _MAX_STEPS:
            first, second = steps[:2]
            steps[:2] = [_Step(second.until, first.seconds + second.seconds)]
        steps.append(_Step(until, seconds))
