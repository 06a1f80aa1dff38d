"""Statistics: what was learned about each symbol from the answers that passed by; bounded."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable

from argo_mw_adaptive_ttl.asset_class import class_of
from argo_mw_adaptive_ttl.bars import Bars
from argo_mw_adaptive_ttl.calendars import DAY, Calendar
from argo_mw_adaptive_ttl.estimator import Estimator
from argo_mw_adaptive_ttl.factor_model import FactorModel
from argo_mw_adaptive_ttl.fetch_rate import FetchRate
from argo_mw_adaptive_ttl.regime import Detector, Efficiency
from argo_mw_adaptive_ttl.symbol import BASIS_POINTS, Symbol


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
        pools: The fetches of all symbols of each calendar together.
        members: How many symbols of each calendar are known.
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
        self.pools: dict[str, FetchRate] = {}
        self.members: Counter[str] = Counter()
        self._seen: dict[str, float] = {}

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

    def pool(self, calendar: Calendar) -> FetchRate:
        """Return the account of the symbols of *calendar* together."""
        pool = self.pools.get(calendar.name)
        if pool is None:
            pool = self.pools[calendar.name] = FetchRate()
        return pool

    def add(self, symbol: Symbol) -> None:
        """Remember *symbol* as the one that was seen last."""
        self.symbols[symbol.name] = symbol
        self.members[symbol.calendar.name] += 1

    def remove(self, name: str) -> None:
        """Forget symbol *name*."""
        symbol = self.symbols.pop(name)
        self.members[symbol.calendar.name] -= 1

    def take_over(self, previous: SymbolStats) -> None:
        """Share what *previous* has learned, and what its calls under way still learn."""
        self.symbols = previous.symbols
        self.factors = previous.factors
        self.pools = previous.pools
        self.members = previous.members
        self._seen = previous._seen

    def learn(self, name: str, bars: Bars, calendar: Calendar, now: float) -> Symbol:
        """Learn from *bars* of symbol *name* on *calendar*, fetched at epoch second *now*.

        Minutes that are known already are skipped, so learning an answer twice is harmless.
        """
        if now - self._seen.get(calendar.name, now) > self.forget_after:
            self._forget(calendar.name)
        self._seen[calendar.name] = now
        symbol = self.symbols.get(name)
        if symbol is not None and now - symbol.seen_at > self.forget_after:
            self.remove(name)
            symbol = None
        if symbol is None:
            symbol = self._begin(name, calendar, bars)
        elif symbol.calendar is not calendar:
            self._move(symbol, calendar)
        self.symbols.move_to_end(name)
        if now >= symbol.seen_at:
            Estimator(symbol, self.factor(calendar), self.prior_loading).learn(bars, now)
            symbol.seen_at = now
        return symbol

    def _forget(self, calendar: str) -> None:
        """Forget the symbols of the calendar of this name, which are unseen, and their account."""
        self.pools.pop(calendar, None)
        unseen = [one.name for one in self.symbols.values() if one.calendar.name == calendar]
        for name in unseen:
            self.remove(name)

    def _begin(self, name: str, calendar: Calendar, bars: Bars) -> Symbol:
        while len(self.symbols) >= self.max_symbols:
            self.remove(next(iter(self.symbols)))
        symbol = Symbol(name, calendar, calendar.day(bars.starts[0]), self.detector())
        symbol.shared_variance = symbol.loading(self.prior_loading) ** 2
        kind = class_of(name, calendar.name)
        symbol.activity.prior = kind.rate
        symbol.volatility.seed((kind.sigma * BASIS_POINTS) ** 2 / symbol.day.minutes)
        self.add(symbol)
        return symbol

    def _move(self, symbol: Symbol, calendar: Calendar) -> None:
        """Let *symbol* follow *calendar* from now on."""
        self.members[symbol.calendar.name] -= 1
        self.members[calendar.name] += 1
        symbol.calendar, symbol.day = calendar, calendar.day(symbol.day.start)
