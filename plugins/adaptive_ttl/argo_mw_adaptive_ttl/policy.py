"""Policies: they decide how long an answer lives, from what is known about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

from attrs import define, field

from argo_mw.plugin import Context
from argo_mw_adaptive_ttl.calendars import Calendar, Phase
from argo_mw_adaptive_ttl.regime import Regime
from argo_mw_adaptive_ttl.symbol import Symbol
from argo_mw_adaptive_ttl.symbol_stats import SymbolStats

SIGMA: Final = "\N{GREEK SMALL LETTER SIGMA}"


# Not frozen, as what follows: that takes 0.4 to 1 µs more, a tenth of the time to decide.
@define(eq=False)
class Situation:
    """What is known about a fresh answer.

    Attributes:
        data_type: What kind of data it is.
        subject: The symbol, or "".
        now: Epoch seconds.
        calendar: The symbol's calendar, or ``None`` for an answer without a subject.
        symbol: What is known about the symbol, or ``None`` when nothing is.
        revealed: Whether the answer itself brought news of the price.
        asked_at: Epoch seconds at which it was asked for: it may be no newer.
    """

    data_type: str
    subject: str
    now: float
    calendar: Calendar | None = None
    symbol: Symbol | None = None
    revealed: bool = False
    asked_at: float = field()

    @asked_at.default
    def _now(self) -> float:
        return self.now

    @property
    def volatility(self) -> float | None:
        """Return sigma of a day as a fraction, or ``None`` when it is unknown."""
        return None if self.symbol is None else self.symbol.sigma_per_day

    @property
    def regime(self) -> Regime:
        """Return the symbol's regime."""
        return Regime.UNKNOWN if self.symbol is None else self.symbol.regime

    @property
    def phase(self) -> Phase:
        """Return what the symbol's market does now; open when there is no calendar."""
        return Phase.OPEN if self.calendar is None else self.calendar.phase(self.now)


@define
class TtlDecision:
    """How long an answer lives.

    Attributes:
        ttl: Seconds.
        why: Puts the reason into words, for people, without the result.
        recheck: Epoch seconds at which to ask :meth:`RefreshPolicy.is_due`, or ``None``.
    """

    ttl: float
    why: Callable[[], str]
    recheck: float | None = None


class Policy(Protocol):
    """Decides how long answers live."""

    def decide(self, situation: Situation) -> TtlDecision:
        """Return how long the fresh answer of *situation* lives."""


@runtime_checkable
class RefreshPolicy(Protocol):
    """A policy that accounts for fetches, and may let answers expire when peers bring news."""

    def record_fetch(self, symbol: Symbol) -> None:
        """Account for a fetch of *symbol*, after learning from it and before the decision."""

    def is_due(self, symbol: Symbol, now: float) -> bool:
        """Return whether the kept answers about *symbol* are to expire at epoch second *now*."""


PolicyFactory = Callable[[SymbolStats, Context], Policy]
"""Makes a policy, from the statistics of symbols and the context."""
