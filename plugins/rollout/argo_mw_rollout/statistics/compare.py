"""Compares the arms of a step in the metrics that are means over blocks."""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from argo_mw_rollout.statistics.metrics import METRICS
from argo_mw_rollout.statistics.sequence import Numbers, Sums, boundary, interval, within
from argo_mw_rollout.statistics.step import Step
from argo_mw_rollout.statistics.subjects import RELATIVE, Baseline, Subjects, of, per

_SHARE: Final = np.array([metric.share for metric in METRICS.values()])


@frozen(eq=False)
class _Levels:
    """What one arm has shown in a whole step.

    Attributes:
        counted: What was counted, by metric.
        shares: The calls or audits that it is a share of.
        usual: What would have been counted were each subject as it was before the ramp.
        variance: The variance of the arm's mean, as the differences between its subjects show it.
    """

    counted: Numbers
    shares: Numbers
    usual: Numbers
    variance: Numbers


@frozen(eq=False)
class Comparison:
    """What is known of the change that treatment brings, by metric.

    Attributes:
        change: The change.
        treatment: The level in treatment, for one call or audit.
        control: The level in control.
        before: The level that was usual for control's subjects before the ramp.
        sums: What the intervals are made from.
        blocks: How many blocks of the chosen length there are.
        spread: How many times larger the variance is than the blocks show.
        subjects: The same change as a sum over subjects.
    """

    change: Numbers
    treatment: Numbers
    control: Numbers
    before: Numbers
    sums: Sums
    blocks: NDArray[np.int64]
    spread: Numbers
    subjects: Sums

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether anything was counted that a metric is a share of."""
        return np.asarray(self.sums.ww > 0)

    def interval(self, alpha: Numbers | float) -> tuple[Numbers, Numbers]:
        """Return the changes that are left open, with *alpha* for each side."""
        low, high = interval(self.sums, alpha, spread=self.spread)
        bound = boundary(np.maximum(self.sums.size(), 1.0), alpha) ** 2
        below, above = within(self.subjects, bound)
        return np.minimum(low, below), np.maximum(high, above)

    def seconds_until(self, at: int, limit: float, alpha: float, elapsed: float) -> float | None:
        """Return about how long until a change of *limit* is ruled out, if nothing changes."""
        if not self.known[at] or not elapsed:
            return None
        room = limit - float(self.change[at])
        if room <= 0.0:
            return None
        size = float(self.sums.size()[at])
        bound = float(boundary(max(size, 1.0), alpha)) ** 2 * float(self.spread[at])
        variance = float(self.sums.variance(np.asarray(limit))[at] / self.sums.w[at] ** 2)
        times = bound * variance / room**2  # which the bound's own slow growth leaves out
        return elapsed * max(times - 1.0, 0.0)


def compare(step: Step, baseline: Baseline) -> Comparison:
    """Return what *step* has shown.

    Of two intervals the wider ends count: that of the blocks, which knows whatever changes with
    time, and that of the subjects, which knows whatever stays with one of them, such as an upstream
    that is down for it. Shares of rare cases vary at least as much as chance makes them.
    """
    chosen = step.differences.chosen()
    one, two = _levels(step.treatment, baseline), _levels(step.control, baseline)
    sums = _referred(chosen.sums, step.differences.weight, chosen.blocks)
    with np.errstate(invalid="ignore", divide="ignore"):
        effect = sums.effect()
        change = np.where(np.isnan(effect), 0.0, effect)
        treatment, control = one.counted / one.shares, two.counted / two.shares
        usual = np.where(baseline.nothing, 0.0, two.usual / two.shares)
    chance = np.where(_SHARE, _chance(one, two, baseline) * step.differences.weight, 0.0)
    xx = np.maximum(sums.xx, _finite(chance))
    return Comparison(
        change,
        _finite(treatment),
        _finite(control),
        _finite(usual),
        Sums(sums.x, sums.w, xx, sums.xw, sums.ww),
        chosen.blocks,
        chosen.spread,
        _between(change, one, two, sum(step.subjects)),
    )


def _referred(sums: Sums, weight: Numbers, blocks: NDArray[np.int64]) -> Sums:
    """Return *sums*, with the time before the ramp in control's place where that has had none."""
    none = (sums.ww <= 0) & (weight > 0)
    ww = np.where(none, weight**2 / np.maximum(blocks, 1), sums.ww)
    return Sums(sums.x, np.where(none, weight, sums.w), sums.xx, sums.xw, ww)


def _between(change: Numbers, one: _Levels, two: _Levels, subjects: int) -> Sums:
    """Return the change and its variance between subjects, as if these were its blocks."""
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(RELATIVE, two.counted / two.usual, 1.0) ** 2
        parts = [np.where(scale > 0, arm.variance / scale, 0.0) for arm in (one, two)]
    # A variance between few subjects is uncertain itself; what is beyond its own error counts.
    treatment, control = (part * (1.0 - np.sqrt(2.0 / max(subjects - 2, 3))) for part in parts)
    finite = np.where(np.isfinite(change), change, 0.0)
    share = np.where(RELATIVE, control, 0.0)
    return Sums(finite, np.ones_like(finite), treatment + control, -share, share)


def _levels(subjects: Subjects, baseline: Baseline) -> _Levels:
    counted, shares = of(subjects.sums), per(subjects.sums)
    usual = baseline.of(subjects.names) * shares
    totals = counted.sum(axis=0), shares.sum(axis=0), usual.sum(axis=0)
    number = len(subjects.names)
    if number < 2:
        return _Levels(*totals, np.zeros(len(METRICS)))
    base = np.where(RELATIVE, totals[2], totals[1])
    own = np.where(RELATIVE, counted, counted - usual)
    parts = np.where(RELATIVE, usual, shares)
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = own - own.sum(axis=0) / base * parts
        # One that has much of the weight draws the mean to itself: without it, it is farther off.
        rest /= np.maximum(1.0 - parts / base, 1.0 / number)
        variance = (rest**2).sum(axis=0) / base**2 * ((number - 1.0) / number)
    return _Levels(*totals, _finite(variance))


def _chance(one: _Levels, two: _Levels, baseline: Baseline) -> Numbers:
    """Return the variance of one case, were cases to come independently of each other."""
    share = (one.counted + two.counted + 1.0) / (one.shares + two.shares + 2.0)
    unit = np.where(RELATIVE, baseline.mean, 1.0)
    return np.asarray(share * (1.0 - share) / unit**2)


def _finite(values: Numbers) -> Numbers:
    """Return *values*, with 0 for what is not a finite number."""
    return np.where(np.isfinite(values), values, 0.0)
