"""Intraday bars that no exchange ever printed: a seeded bridge through a day's four prices.

The path starts at the day's open, touches its high and its low once each at drawn times, ends at
its close and stays inside the range; between these it is a Brownian bridge, reflected at the
range's ends. The minutes therefore add up to the real day exactly, and nothing else about them is
real.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from attrs import frozen

from argo_mw_sandbox.bars import MINUTE, Bars, Floats

STEPS = 4
"""Path points per minute: the least that gives a minute an open, a high, a low and a close."""


@frozen
class DayBar:
    """One day's prices and volume."""

    open: float
    high: float
    low: float
    close: float
    volume: float


def bridge(day: DayBar, start: int, minutes: int, seed: tuple[int, ...], digits: int = 2) -> Bars:
    """Draw a day's minute bars.

    Args:
        day: The day that the minutes must add up to.
        start: Start of the first minute, in seconds since the epoch.
        minutes: How many minutes the session has.
        seed: Equal seeds draw equal paths.
        digits: Decimals of the prices in between; the day's own prices keep theirs.
    """
    rng = np.random.default_rng(seed)
    path = _path(day, minutes * STEPS, rng)
    rounded = np.clip(np.round(path, digits), day.low, day.high).reshape(minutes, STEPS)
    pinned = (path == day.high) | (path == day.low)
    points = np.where(pinned.reshape(minutes, STEPS), path.reshape(minutes, STEPS), rounded)
    points[0, 0], points[-1, -1] = day.open, day.close
    return Bars(
        start + MINUTE * np.arange(minutes, dtype=np.int64),
        points[:, 0].copy(),
        points.max(axis=1),
        points.min(axis=1),
        points[:, -1].copy(),
        _volumes(day.volume, minutes, rng),
    )


def _path(day: DayBar, points: int, rng: np.random.Generator) -> Floats:
    first, second = sorted(rng.choice(np.arange(1, points - 1), size=2, replace=False))
    extremes = (day.high, day.low) if rng.random() < 0.5 else (day.low, day.high)
    knots = [(0, day.open), (first, extremes[0]), (second, extremes[1]), (points - 1, day.close)]
    path = np.empty(points)
    step = (day.high - day.low) / (1.7 * np.sqrt(points))
    for (left, a), (right, b) in pairwise(knots):
        ramp = np.linspace(0.0, 1.0, right - left + 1)
        walk = np.concatenate(([0.0], np.cumsum(rng.normal(0.0, step, right - left))))
        path[left : right + 1] = a + (b - a) * ramp + walk - walk[-1] * ramp
    path = _reflect(path, day.low, day.high)
    for at, price in knots:
        path[at] = price
    return path


def _reflect(path: Floats, low: float, high: float) -> Floats:
    width = high - low
    if width <= 0:
        return np.full_like(path, low)
    folded = np.mod(path - low, 2 * width)
    return np.clip(low + np.where(folded > width, 2 * width - folded, folded), low, high)


def _volumes(total: float, minutes: int, rng: np.random.Generator) -> Floats:
    """Split a day's volume: busy at the open and the close, noisy in between, exact in sum."""
    hour = np.linspace(-1.0, 1.0, minutes)
    weight = (0.6 + 1.4 * hour**2) * rng.gamma(2.0, 0.5, minutes)
    share = total * weight / weight.sum()
    if total != int(total):
        return np.asarray(share, dtype=np.float64)
    edges = np.round(np.cumsum(share))
    edges[-1] = total
    return np.diff(edges, prepend=0.0)
