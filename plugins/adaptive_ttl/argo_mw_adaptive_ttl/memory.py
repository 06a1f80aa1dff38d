"""Memory: what was learned about each symbol from the answers that passed by; bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from argo_mw_adaptive_ttl.bars import Bars
from argo_mw_adaptive_ttl.calendars import DAY, Calendar
from argo_mw_adaptive_ttl.lesson import Lesson
from argo_mw_adaptive_ttl.pace import Pace
from argo_mw_adaptive_ttl.peers import Factor
from argo_mw_adaptive_ttl.regime import Detector, Efficiency
from argo_mw_adaptive_ttl.symbol import Symbol


class Memory:
    """Everything learned, for at most *capacity* symbols; the longest unseen is dropped first.

    Args:
        capacity: How many symbols are kept.
        forget_after: Seconds unseen after which a symbol is begun anew.
        loading: The correlation with the common factor that is believed at first.
        detector: Makes the regime detector of a symbol.
    """

    def __init__(
        self,
        *,
        capacity: int = 2000,
        forget_after: float = 4 * DAY,
        loading: float = 0.5,
        detector: Callable[[], Detector] = Efficiency,
    ) -> None:
        self.capacity = capacity
        self.forget_after = forget_after
        self.prior_loading = loading
        self.detector = detector
        self.symbols: OrderedDict[str, Symbol] = OrderedDict()
        self.factors: dict[str, Factor] = {}
        self.pot = Pace()

    def __len__(self) -> int:
        return len(self.symbols)

    def get(self, name: str) -> Symbol | None:
        """What is known about symbol *name*."""
        return self.symbols.get(name)

    def factor(self, calendar: Calendar) -> Factor:
        """The common factor of the symbols of *calendar*."""
        factor = self.factors.get(calendar.name)
        if factor is None:
            factor = self.factors[calendar.name] = Factor()
        return factor

    def see(self, name: str, bars: Bars, calendar: Calendar, now: float) -> Symbol:
        """Learn from *bars* of symbol *name* on *calendar*, fetched at epoch second *now*.

        Minutes that are known already are passed over, so seeing an answer twice is harmless.
        """
        symbol = self.symbols.get(name)
        if symbol is not None and now - symbol.seen_at > self.forget_after:
            del self.symbols[name]
            symbol = None
        if symbol is None:
            symbol = self._begin(name, calendar, bars)
        elif symbol.calendar is not calendar:
            symbol.calendar, symbol.day = calendar, calendar.day(symbol.day.start)
        self.symbols.move_to_end(name)
        if now >= symbol.seen_at:
            Lesson(symbol, self.factor(calendar), self.prior_loading).learn(bars, now)
            symbol.seen_at = now
        return symbol

    def _begin(self, name: str, calendar: Calendar, bars: Bars) -> Symbol:
        while len(self.symbols) >= self.capacity:
            self.symbols.popitem(last=False)
        symbol = Symbol(name, calendar, calendar.day(bars.starts[0]), self.detector())
        symbol.shared = symbol.loading(self.prior_loading) ** 2
        self.symbols[name] = symbol
        return symbol
