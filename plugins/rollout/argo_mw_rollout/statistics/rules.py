"""What a ramp is judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen, validators

from argo_mw_rollout.statistics.metrics import GUARDRAILS, METRICS, NAMES, Guardrail


@frozen
class Rules:
    """What a ramp is judged by.

    Attributes:
        guardrails: How much worse each metric may become.
        signals: The metrics of which one must have become better before the flag is on for all;
            none if there is nothing to gain.
        alpha: The probability that a layer which does no harm is ever rolled back in a ramp, and
            that one with harm of twice the margin is ever switched on for all.
        steps: Among how many steps that is shared.
        warm_up: For so many seconds of each step, only wrong answers count.
        min_blocks: Fewer blocks than that are never enough.
        min_subjects: The fewest subjects in each arm.
    """

    guardrails: Mapping[str, Guardrail] = field(factory=lambda: dict(GUARDRAILS))
    signals: Sequence[str] = ("requests", "usd", "slow", "slowest")
    alpha: float = field(default=0.005, validator=[validators.gt(0), validators.lt(0.5)])
    steps: int = field(default=1, validator=validators.ge(1))
    warm_up: float = field(default=300.0, validator=validators.ge(0))
    min_blocks: int = field(default=20, validator=validators.ge(2))
    min_subjects: int = field(default=10, validator=validators.ge(2))

    @property
    def guarded(self) -> Mapping[str, Guardrail]:
        """The guardrails of metrics that exist."""
        return {name: rail for name, rail in self.guardrails.items() if name in NAMES}

    @property
    def hoped_for(self) -> Sequence[str]:
        """The signals that exist."""
        return [name for name in self.signals if name in METRICS]

    @property
    def unknown(self) -> Sequence[str]:
        """What is named and does not exist."""
        names = [name for name in self.guardrails if name not in NAMES]
        return names + [name for name in self.signals if name not in METRICS]

    def alpha_of(self, name: str) -> float:
        """Return the part of the error probability of a step that the guardrail *name* has."""
        return self.alpha * self.guarded[name].weight / sum(r.weight for r in self.guarded.values())
