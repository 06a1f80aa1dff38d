"""A symbol: all that is known about it, in a fixed amount of memory."""

from __future__ import annotations

from math import sqrt
from typing import Final

from attrs import define, field, frozen

from argo_mw_adaptive_ttl.activity import Activity
from argo_mw_adaptive_ttl.calendars import Calendar, Day
from argo_mw_adaptive_ttl.factor_model import MAX_LOADING
from argo_mw_adaptive_ttl.fetch_rate import FetchRate
from argo_mw_adaptive_ttl.night import Night
from argo_mw_adaptive_ttl.regime import Detector, Regime
from argo_mw_adaptive_ttl.spacing import FixedSpacing
from argo_mw_adaptive_ttl.volatility import Volatility

BASIS_POINTS: Final = 1e4
_LOADING_PRIOR: Final = 30.0
_FORGET: Final = 0.999


@frozen
class Revealed:
    """What one fetch revealed.

    Attributes:
        passed: Minutes of trading since the last one.
        share: The same, each minute counted by its usual sigma over that of the mean minute.
        known: How many of them had an expected volatility.
        sigmas: The sum of their sigmas, in bp, each scaled to the day's mean minute; otherwise
            an account that begins at the open would take the open for the day.
        scored: How many of the minutes were answered for in the session of the fetch before.
        served: The sum of the squared errors of what was served in them, in bp².
        spaced: The same for fixed spacing.
    """

    passed: int = 0
    share: float = 0.0
    known: int = 0
    sigmas: float = 0.0
    scored: int = 0
    served: float = 0.0
    spaced: float = 0.0


NOTHING: Final = Revealed()


@define(eq=False)
class Symbol:
    """What is known about one symbol; of fixed size.

    Attributes:
        name: The symbol.
        calendar: Its calendar.
        volatility: How far it moves in a minute of trading.
        activity: How often it is traded.
        night: How far it moves while its market is closed.
        spacing: What fixed spacing would have been off by.
        detector: Detects which regime it is in.
        fetch_rate: Its fetches, and how many were due.
        day: The day of trading up to which its price is known.
        over: How many minutes of that day are known.
        price: Its last close; 0 while none is known.
        traded: Epoch seconds at which that bar ended.
        gapped: Whether the market has been closed since.
        off_hours: Whether its answers hold bars from outside its calendar's hours.
        silent_minutes: For how many minutes of trading it had not been traded when it was last
            fetched.
        urgency: How much faster than usual its error grows for that.
        seen_at: Epoch seconds of the last fetch.
        bar: Minutes from one bar of its last answer to the next.
        revealed: What the last fetch revealed, until it is accounted for.
        peer_coverage: The share of the common factor that its peers usually reveal before it is
            fetched.
        shared_variance: The share of its variance that is the common factor's.
        forecast_product: The sum of the moves that peers forecast, times the actual moves.
        forecast_square: The sum of the squares of these forecasts.
    """

    name: str
    calendar: Calendar
    day: Day
    detector: Detector
    volatility: Volatility = field(factory=Volatility)
    activity: Activity = field(factory=Activity)
    night: Night = field(factory=Night)
    spacing: FixedSpacing = field(factory=FixedSpacing)
    fetch_rate: FetchRate = field(factory=FetchRate)
    over: int = 0
    price: float = 0.0
    traded: float = 0.0
    gapped: bool = False
    off_hours: bool = False
    silent_minutes: int = 0
    urgency: float = 1.0
    seen_at: float = 0.0
    bar: int = 1
    revealed: Revealed = NOTHING
    peer_coverage: float = 0.0
    shared_variance: float = 0.0
    forecast_product: float = 0.0
    forecast_square: float = 0.0

    @property
    def regime(self) -> Regime:
        """Return the regime it is in."""
        return self.detector.regime

    @property
    def sigma_per_day(self) -> float | None:
        """Return sigma of a day's trading as a fraction, or ``None`` while it is unknown."""
        level = self.volatility.level
        return sqrt(level * self.day.minutes) / BASIS_POINTS if level > 0.0 else None

    def loading(self, prior: float) -> float:
        """Return its correlation with the common factor, near *prior* while little is known."""
        learned = (self.forecast_product + prior * _LOADING_PRIOR) / (
            self.forecast_square + _LOADING_PRIOR
        )
        return min(max(learned, 0.0), MAX_LOADING)

    def variance(self, day: Day, minute: int) -> float:
        """Return the expected variance of *minute* of *day*, in bp²."""
        bucket = day.shape.bucket[minute]
        return self.volatility.level * self.volatility.profile(bucket, day.shape.prior[bucket])

    @property
    def awaits_first_trade(self) -> bool:
        """Return whether the day is under way and its first trade has not been seen."""
        return self.gapped and self.over > 0

    def awaits(self, day: Day) -> bool:
        """Return whether no trade of *day* is known, before which the market was closed."""
        if self.day.start == day.start:
            return self.gapped
        return self.price > 0.0 and day.start > self.day.end

    def learn_loading(self, forecast: float, actual: float) -> None:
        """Compare the *actual* move with the *forecast* of peers at a loading of 1, in sigma."""
        if forecast != 0.0:
            self.forecast_product = self.forecast_product * _FORGET + forecast * actual
            self.forecast_square = self.forecast_square * _FORGET + forecast * forecast
