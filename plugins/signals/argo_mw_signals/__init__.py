"""The reference application: trading signals as a weighted consensus of voices."""

from argo_mw_signals.config import SignalsConfig
from argo_mw_signals.consensus import Consensus, agree
from argo_mw_signals.errors import SignalsError, UnknownSignal
from argo_mw_signals.history import RecordedSignals, close_signal, recorded_signals
from argo_mw_signals.operations import signal
from argo_mw_signals.plugin import SignalsPlugin
from argo_mw_signals.queries import SignalFilter
from argo_mw_signals.recorded import RecordedSignal, RecordedVote
from argo_mw_signals.results import Performance, SignalPage
from argo_mw_signals.signal import Contribution, Missing, Signal
from argo_mw_signals.votes import Vote

__all__ = [
    "Consensus",
    "Contribution",
    "Missing",
    "Performance",
    "RecordedSignal",
    "RecordedSignals",
    "RecordedVote",
    "Signal",
    "SignalFilter",
    "SignalPage",
    "SignalsConfig",
    "SignalsError",
    "SignalsPlugin",
    "UnknownSignal",
    "Vote",
    "agree",
    "close_signal",
    "recorded_signals",
    "signal",
]
