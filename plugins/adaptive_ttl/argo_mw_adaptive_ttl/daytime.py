"""The time of day: how a day's minutes fall into buckets, and what is expected of each.

Volatility has a daily profile: at the open a stock moves five times as fast as at noon. Buckets
are counted from the open and, near the end, to the close, so that days with an early close share
them.
"""

from __future__ import annotations

from functools import cache
from itertools import accumulate
from math import exp, sqrt
from typing import Final

from attrs import field, frozen

MINUTE: Final = 60

_FROM_OPEN: Final = (0, 1, 2, 3, 4, 6, 9, 13, 18, 25, 35, 50, 70, 95, 125, 160, 200, 240, 280)
_TO_CLOSE: Final = (75, 45, 25, 10, 4)
_PRE: Final = (0, 60, 120, 180, 240, 270, 300)
_POST: Final = (0, 5, 30, 60, 120, 180)
_FLAT: Final = tuple(range(0, 1440, 120))

_KINDS: Final = {
    "regular": (),
    "morning": (),
    "afternoon": (),
    "pre": _PRE,
    "post": _POST,
    "flat": _FLAT,
}
_EXTENDED_SIGMA: Final = 0.5
"""sigma before and after the regular session, as a share of sigma at noon."""


@frozen(eq=False)
class Shape:
    """How the minutes of a kind of day fall into buckets.

    Attributes:
        bucket: The bucket of each minute.
        width: How many minutes of the day fall into each bucket.
        ends: Where the stretch of minutes ends that share each minute's bucket.
        prior: The expected variance of a minute by bucket, 1 on average over the regular
            session; which is assumed before anything was seen.
        usual: The expected sigma of a minute by bucket, over that of the day's mean minute.
        contrast: The sum of the squares by which the prior of each minute differs from 1.
        elapsed: The sum of ``usual`` over the minutes before each one, and at last over all of
            them, which is their number.
    """

    bucket: tuple[int, ...]
    width: tuple[int, ...]
    ends: tuple[int, ...]
    prior: tuple[float, ...]
    usual: tuple[float, ...] = field(init=False)
    contrast: float = field(init=False)
    elapsed: tuple[float, ...] = field(init=False)

    @usual.default
    def _usual(self) -> tuple[float, ...]:
        mean = sum(sqrt(self.prior[bucket]) for bucket in self.bucket) / len(self.bucket)
        return tuple(sqrt(prior) / mean for prior in self.prior)

    @contrast.default
    def _contrast(self) -> float:
        return sum((self.prior[bucket] - 1.0) ** 2 for bucket in self.bucket)

    @elapsed.default
    def _elapsed(self) -> tuple[float, ...]:
        return tuple(accumulate((self.usual[bucket] for bucket in self.bucket), initial=0.0))


@cache
def shape_of(windows: tuple[tuple[int, str], ...]) -> Shape:
    """Return the shape of a day whose windows have these minutes and kinds."""
    names: list[tuple[str, int]] = []
    sigmas: list[float] = []
    for minutes, kind in windows:
        for minute in range(minutes):
            names.append(_bucket(kind, minute, minutes))
            sigmas.append(_sigma(kind, minute, minutes))
    known = {name: index for index, name in enumerate(_all_buckets())}
    bucket = tuple(known[name] for name in names)
    width = tuple(bucket.count(index) for index in range(len(known)))
    return Shape(bucket, width, _ends(bucket), _prior(bucket, sigmas, windows, len(known)))


def _all_buckets() -> list[tuple[str, int]]:
    regular = [("regular", edge) for edge in _FROM_OPEN] + [("regular", -e) for e in _TO_CLOSE]
    afternoon = [("afternoon", edge) for edge in _FROM_OPEN]
    rest = [(kind, edge) for kind in ("pre", "post", "flat") for edge in _KINDS[kind]]
    return regular + afternoon + rest


BUCKETS: Final = len(_all_buckets())
"""How many buckets there are, over all kinds of day."""


def _bucket(kind: str, minute: int, minutes: int) -> tuple[str, int]:
    left = minutes - minute
    if kind in {"regular", "afternoon"} and left <= _TO_CLOSE[0]:
        return "regular", -min(edge for edge in _TO_CLOSE if left <= edge)
    edges = _KINDS[kind] or _FROM_OPEN
    name = "regular" if kind == "morning" else kind
    return name, max(edge for edge in edges if edge <= minute)


def _sigma(kind: str, minute: int, minutes: int) -> float:
    """Return an estimate of sigma: high at the open, calm at noon, higher again at the close."""
    if kind == "flat":
        return 1.0
    if kind in {"pre", "post"}:
        return _EXTENDED_SIGMA
    opening = 2.0 * exp(-minute / 6) + 1.5 * exp(-minute / 45)
    closing = 0.6 * exp((minute - minutes) / 25)
    return (
        1.0
        + (0.5 * opening if kind == "afternoon" else opening)
        + (0.0 if kind == "morning" else closing)
    )


def _ends(bucket: tuple[int, ...]) -> tuple[int, ...]:
    ends = [len(bucket)] * len(bucket)
    for minute in range(len(bucket) - 2, -1, -1):
        same = bucket[minute] == bucket[minute + 1]
        ends[minute] = ends[minute + 1] if same else minute + 1
    return tuple(ends)


def _prior(
    bucket: tuple[int, ...],
    sigmas: list[float],
    windows: tuple[tuple[int, str], ...],
    count: int,
) -> tuple[float, ...]:
    variances: list[list[float]] = [[] for _ in range(count)]
    for name, sigma in zip(bucket, sigmas, strict=True):
        variances[name].append(sigma * sigma)
    kinds = [kind for minutes, kind in windows for _ in range(minutes)]
    regular = [s * s for s, kind in zip(sigmas, kinds, strict=True) if kind not in {"pre", "post"}]
    level = sum(regular) / len(regular)
    return tuple(sum(v) / len(v) / level if v else 1.0 for v in variances)
