"""Adaptive TTL: answers live as long as they are worth it."""

from argo_mw_adaptive_ttl.bars import Bars, read_bars
from argo_mw_adaptive_ttl.calendar_rules import calendar_of, pair_of
from argo_mw_adaptive_ttl.calendars import Calendar, Calendars, Day, ExtendedHours, Phase
from argo_mw_adaptive_ttl.config import AdaptiveTtlConfig, ErrorBudgetConfig, MultiplierConfig
from argo_mw_adaptive_ttl.error_budget import ErrorBudget
from argo_mw_adaptive_ttl.layer import TTL, AdaptiveTtl, price_tag
from argo_mw_adaptive_ttl.multiplier_policy import MultiplierPolicy
from argo_mw_adaptive_ttl.plugin import AdaptiveTtlPlugin
from argo_mw_adaptive_ttl.policy import Policy, PolicyFactory, RefreshPolicy, Situation, TtlDecision
from argo_mw_adaptive_ttl.regime import Detector, Efficiency, Regime
from argo_mw_adaptive_ttl.symbol import Symbol
from argo_mw_adaptive_ttl.symbol_stats import SymbolStats

__all__ = [
    "TTL",
    "AdaptiveTtl",
    "AdaptiveTtlConfig",
    "AdaptiveTtlPlugin",
    "Bars",
    "Calendar",
    "Calendars",
    "Day",
    "Detector",
    "Efficiency",
    "ErrorBudget",
    "ErrorBudgetConfig",
    "ExtendedHours",
    "MultiplierConfig",
    "MultiplierPolicy",
    "Phase",
    "Policy",
    "PolicyFactory",
    "RefreshPolicy",
    "Regime",
    "Situation",
    "Symbol",
    "SymbolStats",
    "TtlDecision",
    "calendar_of",
    "pair_of",
    "price_tag",
    "read_bars",
]
