"""The plugin's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import Attribute, Factory, field, frozen, validators

from argo_mw_adaptive_ttl.regime import Regime

DATA_TYPES = ("market_data", "indicators", "sentiment", "ai_reasoning", "consensus")
"""The kinds of data that the policies know."""


def _positive(_: object, attribute: Attribute[float], value: float) -> None:
    if not value > 0:
        msg = f"'{attribute.name}' must be above 0, not {value!r}"
        raise ValueError(msg)


@frozen
class TableConfig:
    """The table ``[plugins.adaptive_ttl.table]``: every number of the policy ``table``.

    Attributes:
        base: Seconds before any factor.
        market_data: Factor for prices.
        indicators: Factor for what is computed from prices.
        sentiment: Factor for news and moods.
        ai_reasoning: Factor for what language models say.
        consensus: Factor for agreed signals.
        high_volatility: sigma of a day, as a fraction, above which ``when_high`` applies.
        when_high: Factor in high volatility.
        low_volatility: sigma of a day, as a fraction, below which ``when_low`` applies.
        when_low: Factor in low volatility; unknown volatility has none.
        volatile: Factor in the regime VOLATILE.
        consolidation: Factor in the regime CONSOLIDATION.
        trending: Factor in the regime TRENDING.
        closed: Factor while the market is closed.
        extended_hours: Factor before and after the regular session.
        minimum: Seconds that every answer lives.
        maximum: Seconds that no answer outlives.
    """

    base: float = field(default=120.0, validator=_positive)
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
    minimum: float = field(default=10.0, validator=_positive)
    maximum: float = field(default=3600.0, validator=_positive)

    def by_type(self) -> dict[str, float]:
        """The factors by data type."""
        return {
            "market_data": self.market_data,
            "indicators": self.indicators,
            "sentiment": self.sentiment,
            "ai_reasoning": self.ai_reasoning,
            "consensus": self.consensus,
        }

    def by_regime(self) -> dict[Regime, float]:
        """The factors by regime."""
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
        error_bp: The root mean squared error of served prices that is aimed at, in basis
            points; used while ``calls`` is 0.
        calls: How many fetches are aimed at instead, per ``per``.
        per: Of trading time.
        of: Whose budget it is: each ``symbol`` keeps to it by itself; in a ``pool`` all symbols
            together keep to it times their number, so that the wild borrow from the calm;
            ``total`` is what all symbols together may fetch.
        minimum: Seconds that every answer lives.
        maximum: Seconds of trading that no price outlives.
        closed: Seconds that no answer outlives while its market is closed.
        delay: Seconds from the end of a bar until the upstream has it.
    """

    error_bp: float = field(default=10.0, validator=_positive)
    calls: float = field(default=0.0, validator=validators.ge(0))
    per: Literal["minute", "hour", "day"] = "minute"
    of: Literal["symbol", "pool", "total"] = "symbol"
    minimum: float = field(default=5.0, validator=_positive)
    maximum: float = field(default=5400.0, validator=_positive)
    closed: float = field(default=345_600.0, validator=_positive)
    delay: float = field(default=1.0, validator=validators.ge(0))


@frozen
class OperationConfig:
    """The table ``[plugins.adaptive_ttl.operations.NAME]``.

    Attributes:
        ttl: Seconds that its answers live, whatever the policy says; 0 to leave it to that.
        maximum: Seconds that its answers do not outlive; 0 for no such limit.
    """

    ttl: float = field(default=0.0, validator=validators.ge(0))
    maximum: float = field(default=0.0, validator=validators.ge(0))


@frozen
class HoursConfig:
    """The table ``[plugins.adaptive_ttl.extended.CALENDAR]``, in the exchange's own time.

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
        policy: The name of the policy: ``error_budget``, ``table``, or one that another plugin
            registers.
        regimes: The name of the regime detector: ``efficiency``, or another plugin's.
        table: The numbers of the policy ``table``.
        error_budget: The numbers of the policy ``error_budget``.
        operations: Limits by operation.
        calendar: The calendar of symbols that no rule knows.
        calendars: Calendars by pattern of the symbol, such as ``{"*.L" = "XLON"}``.
        extended: Hours before and after the regular session, by calendar.
        symbols: How many symbols are remembered.
        forget_days: Days unseen after which a symbol is learned anew.
        save_every: Seconds after which what was learned is written to the state directory; 0
            for only at the end.
    """

    policy: str = "error_budget"
    regimes: str = "efficiency"
    table: TableConfig = TableConfig()
    error_budget: ErrorBudgetConfig = ErrorBudgetConfig()
    operations: Mapping[str, OperationConfig] = Factory(dict)
    calendar: str = "XNYS"
    calendars: Mapping[str, str] = Factory(dict)
    extended: Mapping[str, HoursConfig] = Factory(dict)
    symbols: int = field(default=2000, validator=validators.gt(0))
    forget_days: float = field(default=4.0, validator=_positive)
    save_every: float = field(default=300.0, validator=validators.ge(0))
