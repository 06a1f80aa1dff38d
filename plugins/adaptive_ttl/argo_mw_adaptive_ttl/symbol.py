"""Symbols: all that is known about one of them, in a fixed amount of memory."""

from __future__ import annotations

from math import sqrt
from typing import Final

from attrs import define, field, frozen

from argo_mw_adaptive_ttl.calendars import Calendar, Day
from argo_mw_adaptive_ttl.pace import Pace
from argo_mw_adaptive_ttl.peers import MOST
from argo_mw_adaptive_ttl.regime import Detector, Regime
from argo_mw_adaptive_ttl.volatility import Volatility

_BASIS_POINTS: Final = 1e4
_LOADING_PRIOR: Final = 30.0
_FORGET: Final = 0.999


@frozen
class Revealed:
    """What one fetch revealed.

    Attributes:
        passed: Minutes of trading since the last one.
        known: Minutes of which it could be said what was expected of them.
        sigmas: sigma of those, in bp, added up, each as if it were the day's mean minute: or an
            account that begins at the open would take the open for the day.
    """

    passed: int = 0
    known: int = 0
    sigmas: float = 0.0


NOTHING: Final = Revealed()


@define(eq=False)
class Symbol:
    """What is known about one symbol; of fixed size.

    Attributes:
        name: The symbol.
        calendar: Its calendar.
        volatility: How far it moves.
        detector: Says which regime it is in.
        pace: Its fetches, and what they were due.
        day: The day of trading up to which its price is known.
        over: How many minutes of that day are known.
        price: Its last close; 0 while none is known.
        traded: Epoch seconds at which that bar ended.
        gapped: Whether the market has been closed since.
        off_hours: Whether its answers hold bars from outside its calendar's hours.
        silent: For how many minutes it had not been traded when it was last fetched.
        seen_at: Epoch seconds of the last fetch.
        bar: Minutes from one bar of its last answer to the next.
        revealed: What the last fetch revealed and nobody has accounted for.
        shared: The share of its variance that is the common factor's, as last worked out.
        pull: What peers made expect times what happened, added up.
        evidence: The square of what they made expect, added up.
        company: Which share of the common factor its peers usually know before it is fetched.
    """

    name: str
    calendar: Calendar
    day: Day
    detector: Detector
    volatility: Volatility = field(factory=Volatility)
    pace: Pace = field(factory=Pace)
    over: int = 0
    price: float = 0.0
    traded: float = 0.0
    gapped: bool = False
    off_hours: bool = False
    silent: int = 0
    seen_at: float = 0.0
    bar: int = 1
    revealed: Revealed = NOTHING
    company: float = 0.0
    shared: float = 0.0
    pull: float = 0.0
    evidence: float = 0.0

    @property
    def regime(self) -> Regime:
        """The regime it is in."""
        return self.detector.regime

    @property
    def sigma_per_day(self) -> float | None:
        """Sigma of a day's trading as a fraction, or ``None`` while nothing is known."""
        level = self.volatility.level
        return sqrt(level * self.day.minutes) / _BASIS_POINTS if level > 0.0 else None

    def loading(self, prior: float) -> float:
        """Its correlation with the common factor of its calendar; *prior* while little is known."""
        learned = (self.pull + prior * _LOADING_PRIOR) / (self.evidence + _LOADING_PRIOR)
        return min(max(learned, 0.0), MOST)

    def variance(self, day: Day, minute: int) -> float:
        """The expected variance of *minute* of *day*, in bp²."""
        bucket = day.shape.bucket[minute]
        return self.volatility.level * self.volatility.profile(bucket, day.shape.prior[bucket])

    @property
    def waiting(self) -> bool:
        """Whether the day is under way and its first trade has not been seen."""
        return self.gapped and self.over > 0

    def judge(self, expected: float, forecast: float) -> None:
        """Compare *expected*, of peers at a loading of 1, with the move *forecast* so; in sigma."""
        if expected != 0.0:
            self.pull = self.pull * _FORGET + expected * forecast
            self.evidence = self.evidence * _FORGET + expected * expected
