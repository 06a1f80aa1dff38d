"""The plugin's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import Attribute, Factory, field, frozen, validators

from argo_mw_adaptive_ttl.regime import Regime

DATA_TYPES = ("market_data", "indicators", "sentiment", "ai_reasoning", "consensus")
"""The data types that the policies have factors for."""


def _positive(_: object, attribute: Attribute[float], value: float) -> None:
    if not value > 0:
        msg = f"'{attribute.name}' must be above 0, not {value!r}"
        raise ValueError(msg)


@frozen
class MultiplierConfig:
    """The table ``[plugins.adaptive_ttl.multipliers]``: the numbers of the policy of that name.

    Attributes:
        base_ttl: Seconds before any factor.
        market_data: Factor for prices.
        indicators: Factor for figures that are computed from prices.
        sentiment: Factor for news and moods.
        ai_reasoning: Factor for answers of language models.
        consensus: Factor for agreed signals.
        high_volatility: Sigma of a day, as a fraction, above which ``when_high`` applies.
        when_high: Factor in high volatility.
        low_volatility: Sigma of a day, as a fraction, below which ``when_low`` applies.
        when_low: Factor in low volatility; unknown volatility has none.
        volatile: Factor in the regime VOLATILE.
        consolidation: Factor in the regime CONSOLIDATION.
        trending: Factor in the regime TRENDING.
        closed: Factor while the market is closed.
        extended_hours: Factor before and after the regular session.
        min_ttl: Seconds that every answer lives.
        max_ttl: Seconds that no answer outlives.
    """

    base_ttl: float = field(default=120.0, validator=_positive)
    market_data: float = field(default=1.0, validator=_positive)
    indicators: float = field(default=1.5, validator=_positive)
    sentiment: float = field(default=2.0, validator=_positive)
    ai_reasoning: float = field(default=10.0, validator=_positive)
    consensus: float = field(default=3.0, validator=_positive)
    high_volatility: float = field(default=0.05, validator=_positive)
    when_high: float = field(default=0.5, validator=_positive)
    low_volatility: float = field(default=0.01, validator=_positive)
    when_low: float = field(default=2.0, validator=_positive)
    volatile: float = field(default=0.7, validator=_positive)
    consolidation: float = field(default=1.5, validator=_positive)
    trending: float = field(default=1.0, validator=_positive)
    closed: float = field(default=3.0, validator=_positive)
    extended_hours: float = field(default=1.0, validator=_positive)
    min_ttl: float = field(default=10.0, validator=_positive)
    max_ttl: float = field(default=3600.0, validator=_positive)

    def by_type(self) -> dict[str, float]:
        """Return the factors by data type."""
        return {
            "market_data": self.market_data,
            "indicators": self.indicators,
            "sentiment": self.sentiment,
            "ai_reasoning": self.ai_reasoning,
            "consensus": self.consensus,
        }

    def by_regime(self) -> dict[Regime, float]:
        """Return the factors by regime."""
        return {
            Regime.VOLATILE: self.volatile,
            Regime.CONSOLIDATION: self.consolidation,
            Regime.TRENDING: self.trending,
            Regime.UNKNOWN: 1.0,
        }


@frozen
class ErrorBudgetConfig:
    """The table ``[plugins.adaptive_ttl.error_budget]``.

    Attributes:
        error_bp: The root mean squared error of served prices to aim at, in basis points; used
            while ``fetches`` is 0.
        fetches: The number of fetches to aim at instead, in each ``per``.
        per: The trading time in which they are made.
        of: What the budget is for: with ``symbol``, each symbol has its own; with ``pool``, the
            symbols of a market share their budgets, so that volatile symbols borrow from calm ones;
            with ``total``, all symbols together have one.
        min_ttl: Seconds that every answer lives.
        max_ttl: Seconds of trading that no price outlives.
        max_ttl_closed: Seconds that no answer outlives while its market is closed.
        bar_delay: Seconds from the end of a bar until the upstream has it.
    """

    error_bp: float = field(default=10.0, validator=_positive)
    fetches: float = field(default=0.0, validator=validators.ge(0))
    per: Literal["minute", "hour", "day"] = "minute"
    of: Literal["symbol", "pool", "total"] = "symbol"
    min_ttl: float = field(default=5.0, validator=_positive)
    max_ttl: float = field(default=5400.0, validator=_positive)
    max_ttl_closed: float = field(default=345_600.0, validator=_positive)
    bar_delay: float = field(default=1.0, validator=validators.ge(0))


@frozen
class OperationConfig:
    """The table ``[plugins.adaptive_ttl.operations.NAME]``.

    Attributes:
        ttl: Seconds that its answers live; 0 to leave that to the policy.
        max_ttl: Seconds that its answers do not outlive; 0 for no such limit.
    """

    ttl: float = field(default=0.0, validator=validators.ge(0))
    max_ttl: float = field(default=0.0, validator=validators.ge(0))


@frozen
class ExtendedHoursConfig:
    """The table ``[plugins.adaptive_ttl.extended_hours.CALENDAR]``, in the exchange's own time.

    Attributes:
        pre: When the pre-market begins, ``HH:MM``, or "" for none.
        post: When the post-market ends, ``HH:MM``, or "" for none.
    """

    pre: str = field(default="", validator=validators.matches_re(r"|([01]\d|2[0-3]):[0-5]\d"))
    post: str = field(default="", validator=validators.matches_re(r"|([01]\d|2[0-3]):[0-5]\d"))


@frozen
class AdaptiveTtlConfig:
    """The table ``[plugins.adaptive_ttl]``.

    Attributes:
        policy: The name of the policy: ``error_budget``, ``multipliers``, or one that another
            plugin registers.
        regime_detector: The name of the regime detector: ``efficiency``, or one that another
            plugin registers.
        multipliers: The numbers of the policy ``multipliers``.
        error_budget: The numbers of the policy ``error_budget``.
        operations: Limits by operation.
        default_calendar: The calendar of plain tickers, such as AAPL and BRK.B; a symbol of another
            form without a known exchange counts as always open.
        calendars: Calendars by pattern of the symbol, such as ``{"*.L" = "XLON"}``.
        extended_hours: Hours before and after the regular session, by calendar.
        max_symbols: How many symbols are remembered.
        forget_days: Days without a fetch after which a symbol is forgotten.
        save_interval: Seconds between writes of what was learned to the state directory; 0 writes
            only at the end.
    """

    policy: str = "error_budget"
    regime_detector: str = "efficiency"
    multipliers: MultiplierConfig = MultiplierConfig()
    error_budget: ErrorBudgetConfig = ErrorBudgetConfig()
    operations: Mapping[str, OperationConfig] = Factory(dict)
    default_calendar: str = "XNYS"
    calendars: Mapping[str, str] = Factory(dict)
    extended_hours: Mapping[str, ExtendedHoursConfig] = Factory(dict)
    max_symbols: int = field(default=2000, validator=validators.gt(0))
    forget_days: float = field(default=4.0, validator=_positive)
    save_interval: float = field(default=300.0, validator=validators.ge(0))
