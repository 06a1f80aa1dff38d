"""The policy ``multipliers``: a base time, multiplied by a factor for each thing that is known."""

from __future__ import annotations

from argo_mw_adaptive_ttl.calendars import Phase
from argo_mw_adaptive_ttl.config import MultiplierConfig
from argo_mw_adaptive_ttl.policy import SIGMA, Situation, TtlDecision
from argo_mw_adaptive_ttl.regime import Regime


class MultiplierPolicy:
    """Multiplies a base time by factors for data type, volatility, regime and market hours.

    A data type without a factor of its own, "" included, counts as 1.
    """

    def __init__(self, config: MultiplierConfig) -> None:
        self._config = config
        self._types = config.by_type()
        self._regimes = config.by_regime()
        self._phases = {
            Phase.CLOSED: config.closed,
            Phase.BREAK: config.closed,
            Phase.PRE: config.extended_hours,
            Phase.POST: config.extended_hours,
        }

    def decide(self, situation: Situation) -> TtlDecision:
        """Return how long the fresh answer of *situation* lives."""
        config = self._config
        volatility, regime, phase = situation.volatility, situation.regime, situation.phase
        ttl = config.base_ttl * self._types.get(situation.data_type, 1.0)
        if volatility is not None:
            if volatility > config.high_volatility:
                ttl *= config.when_high
            elif volatility < config.low_volatility:
                ttl *= config.when_low
        ttl *= self._regimes[regime] * self._phases.get(phase, 1.0)
        ttl = max(config.min_ttl, min(ttl, config.max_ttl))
        kind = situation.data_type if situation.data_type in self._types else "data"
        return TtlDecision(ttl, lambda: _why(kind, volatility, regime, phase))


def _why(kind: str, volatility: float | None, regime: Regime, phase: Phase) -> str:
    sigma = "unknown" if volatility is None else f"{100 * volatility:.1f} %/day"
    return f"{kind}, {SIGMA} {sigma}, {regime.name}, {phase.value}"
