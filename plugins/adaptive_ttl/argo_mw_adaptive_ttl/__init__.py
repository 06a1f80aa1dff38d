"""Adaptive TTL: answers live as long as they are worth it."""

from argo_mw_adaptive_ttl.bars import Bars, read_bars
from argo_mw_adaptive_ttl.calendars import Calendar, Calendars, Day, Extended, Phase
from argo_mw_adaptive_ttl.config import AdaptiveTtlConfig, ErrorBudgetConfig, TableConfig
from argo_mw_adaptive_ttl.error_budget import ErrorBudget
from argo_mw_adaptive_ttl.layer import TTL, AdaptiveTtl, price_tag
from argo_mw_adaptive_ttl.memory import Memory
from argo_mw_adaptive_ttl.plugin import AdaptiveTtlPlugin
from argo_mw_adaptive_ttl.policy import Decision, Policy, PolicyFactory, Situation, Watching
from argo_mw_adaptive_ttl.regime import Detector, Efficiency, Regime
from argo_mw_adaptive_ttl.symbol import Symbol
from argo_mw_adaptive_ttl.symbols import calendar_of, pair_of
from argo_mw_adaptive_ttl.table import Table

__all__ = [
    "TTL",
    "AdaptiveTtl",
    "AdaptiveTtlConfig",
    "AdaptiveTtlPlugin",
    "Bars",
    "Calendar",
    "Calendars",
    "Day",
    "Decision",
    "Detector",
    "Efficiency",
    "ErrorBudget",
    "ErrorBudgetConfig",
    "Extended",
    "Memory",
    "Phase",
    "Policy",
    "PolicyFactory",
    "Regime",
    "Situation",
    "Symbol",
    "Table",
    "TableConfig",
    "Watching",
    "calendar_of",
    "pair_of",
    "price_tag",
    "read_bars",
]
