"""Statistics: what was learned about each symbol from the answers that passed by; bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from argo_mw_adaptive_ttl.bars import Bars
from argo_mw_adaptive_ttl.calendars import DAY, Calendar
from argo_mw_adaptive_ttl.estimator import Estimator
from argo_mw_adaptive_ttl.factor_model import FactorModel
from argo_mw_adaptive_ttl.fetch_rate import FetchRate
from argo_mw_adaptive_ttl.regime import Detector, Efficiency
from argo_mw_adaptive_ttl.symbol import Symbol


class SymbolStats:
    """What was learned about at most *max_symbols* symbols; the longest unseen is dropped first.

    Args:
        max_symbols: How many symbols are remembered.
        forget_after: Seconds unseen after which a symbol is begun anew.
        loading: The correlation with the common factor that is assumed at first.
        detector: Makes the regime detector of a symbol.

    Attributes:
        symbols: What is known about each symbol, the longest unseen first.
        factors: The common factor of each calendar.
        pooled_rate: The fetches of all symbols together.
    """

    def __init__(
        self,
        *,
        max_symbols: int = 2000,
        forget_after: float = 4 * DAY,
        loading: float = 0.5,
        detector: Callable[[], Detector] = Efficiency,
    ) -> None:
        self.max_symbols = max_symbols
        self.forget_after = forget_after
        self.prior_loading = loading
        self.detector = detector
        self.symbols: OrderedDict[str, Symbol] = OrderedDict()
        self.factors: dict[str, FactorModel] = {}
        self.pooled_rate = FetchRate()

    def __len__(self) -> int:
        return len(self.symbols)

    def get(self, name: str) -> Symbol | None:
        """Return what is known about symbol *name*, or ``None``."""
        return self.symbols.get(name)

    def factor(self, calendar: Calendar) -> FactorModel:
        """Return the common factor of the symbols of *calendar*."""
        factor = self.factors.get(calendar.name)
        if factor is None:
            factor = self.factors[calendar.name] = FactorModel()
        return factor

    def take_over(self, previous: SymbolStats) -> None:
        """Share what *previous* has learned, and what its calls under way still learn."""
        self.symbols = previous.symbols
        self.factors = previous.factors
        self.pooled_rate = previous.pooled_rate

    def learn(self, name: str, bars: Bars, calendar: Calendar, now: float) -> Symbol:
        """Learn from *bars* of symbol *name* on *calendar*, fetched at epoch second *now*.

        Minutes that are known already are skipped, so learning an answer twice is harmless.
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
            Estimator(symbol, self.factor(calendar), self.prior_loading).learn(bars, now)
            symbol.seen_at = now
        return symbol

    def _begin(self, name: str, calendar: Calendar, bars: Bars) -> Symbol:
        while len(self.symbols) >= self.max_symbols:
            self.symbols.popitem(last=False)
        symbol = Symbol(name, calendar, calendar.day(bars.starts[0]), self.detector())
        symbol.shared_variance = symbol.loading(self.prior_loading) ** 2
        self.symbols[name] = symbol
        return symbol
