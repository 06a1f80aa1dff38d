"""Layers are ramped step by step, judged on evidence, and taken back when they do harm."""

from __future__ import annotations

from argo_mw_rollout.config import RolloutConfig
from argo_mw_rollout.plan import Plan
from argo_mw_rollout.plugin import RolloutPlugin
from argo_mw_rollout.statistics import (
    GUARDRAILS,
    METRICS,
    Arm,
    Block,
    Evidence,
    Guardrail,
    Judge,
    Metric,
    Rules,
    Verdict,
    report,
)

__all__ = [
    "GUARDRAILS",
    "METRICS",
    "Arm",
    "Block",
    "Evidence",
    "Guardrail",
    "Judge",
    "Metric",
    "Plan",
    "RolloutConfig",
    "RolloutPlugin",
    "Rules",
    "Verdict",
    "report",
]
