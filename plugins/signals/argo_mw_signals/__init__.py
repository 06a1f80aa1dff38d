"""The reference application: trading signals as a weighted consensus of voices."""

from argo_mw_signals.config import SignalsConfig
from argo_mw_signals.consensus import Verdict, agree
from argo_mw_signals.plugin import SignalsPlugin
from argo_mw_signals.signal import Contribution, Missing, Signal
from argo_mw_signals.votes import Vote

__all__ = [
    "Contribution",
    "Missing",
    "Signal",
    "SignalsConfig",
    "SignalsPlugin",
    "Verdict",
    "Vote",
    "agree",
]
