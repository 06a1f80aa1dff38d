"""The metrics that are guarded, and what does not matter of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen, validators

Name = Literal["errors", "slow", "slowest", "requests", "usd", "distance", "wrong"]

FIELDS = ("calls", "errors", "slow", "slowest", "requests", "usd", "audits", "wrong", "distance")
"""What is counted of one subject, in the order of the columns of :class:`~.Arm`."""


@frozen
class Metric:
    """How a metric is made of counts.

    Attributes:
        name: Its name, which is also that of the count it is about.
        words: The name for people, in a sentence.
        per: The count that it is a share of: ``calls`` or ``audits``.
        relative: Whether arms are compared by their ratio, not by their difference.
        share: Whether it is a share of cases, each of which either is one or is not.
        least: What it takes at least of it, for one call, to be worth a comparison.
        prior: For so many calls the mean of all subjects stands beside a subject's own.
        unit: The unit of its level, for people.
    """

    name: Name
    words: str
    per: Literal["calls", "audits"] = "calls"
    relative: bool = True
    share: bool = False
    least: float = 1e-3
    prior: float = 30.0
    unit: str = ""


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("errors", "errors", relative=False, share=True, prior=300.0, unit="%"),
        Metric("slow", "calls slower than control's p95", share=True, least=5e-3, unit="%"),
        Metric("slowest", "calls slower than control's p99", share=True, prior=100.0, unit="%"),
        Metric("requests", "requests", least=1e-2),
        Metric("usd", "USD", least=1e-6),
        Metric("distance", "error of served prices", per="audits", least=1e-6, prior=10.0),
    )
}
"""Those that are compared block by block."""

WRONG = "wrong"
"""The metric of answers that were checked and found wrong, which is judged by itself."""

NAMES = (*METRICS, WRONG)


@frozen
class Guardrail:
    """How much worse a metric may become.

    Attributes:
        margin: The harm that does not matter: a difference of shares for ``errors`` and ``wrong``,
            a part of control's own level for the others. Certain harm above it rolls back; harm of
            twice that must be ruled out before the flag is on for all.
        weight: Its part of the error probability, relative to the other guardrails'.
    """

    margin: float = field(validator=validators.gt(0))
    weight: float = field(default=1.0, validator=validators.gt(0))


GUARDRAILS: Mapping[str, Guardrail] = {
    "errors": Guardrail(0.002, 0.20),
    "slow": Guardrail(0.20, 0.15),
    "slowest": Guardrail(0.30, 0.05),
    "requests": Guardrail(0.05, 0.05),
    "usd": Guardrail(0.05, 0.10),
    "distance": Guardrail(0.05, 0.20),
    "wrong": Guardrail(0.0005, 0.25),
}
"""The guardrails of a plan that names none."""
