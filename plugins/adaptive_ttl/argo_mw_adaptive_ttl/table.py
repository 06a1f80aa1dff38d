"""The policy ``table``: the base time, multiplied by what is known."""

from __future__ import annotations

from argo_mw_adaptive_ttl.calendars import Phase
from argo_mw_adaptive_ttl.config import TableConfig
from argo_mw_adaptive_ttl.policy import SIGMA, Decision, Situation
from argo_mw_adaptive_ttl.regime import Regime


class Table:
    """Multiplies a base time by factors for data type, volatility, regime and market hours."""

    def __init__(self, config: TableConfig) -> None:
        self._config = config
        self._types = config.by_type()
        self._regimes = config.by_regime()
        self._phases = {
            Phase.CLOSED: config.closed,
            Phase.BREAK: config.closed,
            Phase.PRE: config.extended_hours,
            Phase.POST: config.extended_hours,
        }

    def decide(self, situation: Situation) -> Decision:
        """How long the fresh answer of *situation* lives."""
        config = self._config
        volatility, regime, phase = situation.volatility, situation.regime, situation.phase
        ttl = config.base * self._types.get(situation.data_type, 1.0)
        if volatility is not None:
            if volatility > config.high_volatility:
                ttl *= config.when_high
            elif volatility < config.low_volatility:
                ttl *= config.when_low
        ttl *= self._regimes[regime] * self._phases.get(phase, 1.0)
        ttl = max(config.minimum, min(ttl, config.maximum))
        return Decision(ttl, lambda: _why(situation.data_type, volatility, regime, phase))


def _why(data_type: str, volatility: float | None, regime: Regime, phase: Phase) -> str:
    sigma = "unknown" if volatility is None else f"{100 * volatility:.1f} %/day"
    return f"{data_type or 'data'}, {SIGMA} {sigma}, {regime.name}, {phase.value}"
