"""Policies: what decides how long an answer lives, and what they are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol, runtime_checkable

from attrs import define, frozen

from argo_mw.plugin import Context
from argo_mw_adaptive_ttl.calendars import Calendar, Phase
from argo_mw_adaptive_ttl.memory import Memory
from argo_mw_adaptive_ttl.regime import Regime
from argo_mw_adaptive_ttl.symbol import Symbol

SIGMA: Final = "\N{GREEK SMALL LETTER SIGMA}"


@frozen(eq=False)
class Situation:
    """What a policy is told about a fresh answer.

    Attributes:
        data_type: What kind of data it is.
        subject: The symbol, or "".
        now: Epoch seconds.
        calendar: The symbol's calendar, or ``None`` for an answer without a subject.
        symbol: What is known about the symbol, or ``None`` when nothing is.
        revealed: Whether the answer itself brought news of the price.
    """

    data_type: str
    subject: str
    now: float
    calendar: Calendar | None = None
    symbol: Symbol | None = None
    revealed: bool = False

    @property
    def volatility(self) -> float | None:
        """Sigma of a day as a fraction, or ``None`` when it is unknown."""
        return None if self.symbol is None else self.symbol.sigma_per_day

    @property
    def regime(self) -> Regime:
        """The symbol's regime."""
        return Regime.UNKNOWN if self.symbol is None else self.symbol.regime

    @property
    def phase(self) -> Phase:
        """What the symbol's market does now; open when there is no calendar."""
        return Phase.OPEN if self.calendar is None else self.calendar.phase(self.now)


# Not frozen: that takes 0.4 µs more, a tenth of the time to decide.
@define
class Decision:
    """How long an answer lives.

    Attributes:
        ttl: Seconds.
        why: Puts the reason into words, for people, without the result.
        recheck: Epoch seconds at which to ask :meth:`Watching.due`, or ``None``.
    """

    ttl: float
    why: Callable[[], str]
    recheck: float | None = None


class Policy(Protocol):
    """Decides how long answers live."""

    def decide(self, situation: Situation) -> Decision:
        """How long the fresh answer of *situation* lives."""


@runtime_checkable
class Watching(Protocol):
    """A policy that keeps account, and may give answers up early when others have brought news."""

    def fetched(self, symbol: Symbol) -> None:
        """*symbol* was fetched, and what the answer reveals is learned; a decision follows."""

    def due(self, symbol: Symbol, now: float) -> bool:
        """Whether what is kept about *symbol* is to be given up at epoch second *now*."""


PolicyFactory = Callable[[Memory, Context], Policy]
"""Makes a policy of what was learned and the context."""
Policies = Mapping[str, PolicyFactory]
