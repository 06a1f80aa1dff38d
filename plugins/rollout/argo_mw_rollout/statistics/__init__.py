"""The statistics of a ramp: a pure package, without a clock, tasks or a store.

``Judge`` takes blocks of counts and returns verdicts; the other modules are what it is made of.
"""

from __future__ import annotations

from argo_mw_rollout.statistics.blocks import Arm, Block
from argo_mw_rollout.statistics.judge import Judge
from argo_mw_rollout.statistics.metrics import GUARDRAILS, METRICS, NAMES, Guardrail, Metric
from argo_mw_rollout.statistics.rules import Rules
from argo_mw_rollout.statistics.verdict import Action, Evidence, Verdict
from argo_mw_rollout.statistics.words import duration, report

__all__ = [
    "GUARDRAILS",
    "METRICS",
    "NAMES",
    "Action",
    "Arm",
    "Block",
    "Evidence",
    "Guardrail",
    "Judge",
    "Metric",
    "Rules",
    "Verdict",
    "duration",
    "report",
]
