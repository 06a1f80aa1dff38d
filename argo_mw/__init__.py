"""Plugin-based middleware for programs that fetch market data and call language models."""

from argo_mw.app import Argo, state_directory
from argo_mw.blocking import BlockingArgo
from argo_mw.call import Call
from argo_mw.caller import Caller
from argo_mw.chain.deadline import Expired, within
from argo_mw.chain.select import all_failed, is_final
from argo_mw.clock import Clock, SystemClock, Timer
from argo_mw.codec import Codecs, Undecodable
from argo_mw.config import Secret, Settings, structure
from argo_mw.context import Context
from argo_mw.errors import (
    Action,
    AllUpstreamsFailed,
    AllUpstreamsRefused,
    ArgoError,
    BadCall,
    BadParameter,
    BudgetExceeded,
    CallCycle,
    CircuitOpen,
    Closed,
    ConfigError,
    DeadlineExceeded,
    NotEncodable,
    NotFound,
    NotShareable,
    PluginError,
    QuotaExceeded,
    Refusal,
    SharedUnavailable,
    StreamAborted,
    Unable,
    Unacceptable,
    UnknownOperation,
    UpstreamError,
    fresh,
)
from argo_mw.events import (
    AnswerSeen,
    AttemptEnded,
    CallEnded,
    Event,
    Events,
    LayerActed,
    LayerBypassed,
    Observer,
    Reconfigured,
    RequestSent,
    Trouble,
    observes,
)
from argo_mw.explain import Explained
from argo_mw.extensions import EXCLUSIVE, LINEAGE, MAX_AGE, REFRESH
from argo_mw.fingerprint import fingerprint
from argo_mw.flags import Flag, Rule
from argo_mw.gauge import Gauge
from argo_mw.guard import CountingGuard, Guard, Request, Result
from argo_mw.hooks import HOOK_API, hookimpl, hookspec
from argo_mw.layer import SLOTS, Layer, Middleware, Next
from argo_mw.log import Log
from argo_mw.marks import EVERYTHING, Freshness, Stamped
from argo_mw.operation import DataType, Kind, Operation, Scope, operation
from argo_mw.outcome import NO_COST, Attempt, Cost, Note, Outcome
from argo_mw.registry import Broken
from argo_mw.registry.deprecation import deprecated_arguments
from argo_mw.shared.protocol import Count, Lease, Shared, Subscription
from argo_mw.sharing import Protected, protect
from argo_mw.stamps import Stamps
from argo_mw.stream import Stream
from argo_mw.tasks import Tasks
from argo_mw.upstream import UNLIMITED, Gathering, Limits, Upstream

__version__ = "0.1.0"

__all__ = [
    "EVERYTHING",
    "EXCLUSIVE",
    "HOOK_API",
    "LINEAGE",
    "MAX_AGE",
    "NO_COST",
    "REFRESH",
    "SLOTS",
    "UNLIMITED",
    "Action",
    "AllUpstreamsFailed",
    "AllUpstreamsRefused",
    "AnswerSeen",
    "Argo",
    "ArgoError",
    "Attempt",
    "AttemptEnded",
    "BadCall",
    "BadParameter",
    "BlockingArgo",
    "Broken",
    "BudgetExceeded",
    "Call",
    "CallCycle",
    "CallEnded",
    "Caller",
    "CircuitOpen",
    "Clock",
    "Closed",
    "Codecs",
    "ConfigError",
    "Context",
    "Cost",
    "Count",
    "CountingGuard",
    "DataType",
    "DeadlineExceeded",
    "Event",
    "Events",
    "Expired",
    "Explained",
    "Flag",
    "Freshness",
    "Gathering",
    "Gauge",
    "Guard",
    "Kind",
    "Layer",
    "LayerActed",
    "LayerBypassed",
    "Lease",
    "Limits",
    "Log",
    "Middleware",
    "Next",
    "NotEncodable",
    "NotFound",
    "NotShareable",
    "Note",
    "Observer",
    "Operation",
    "Outcome",
    "PluginError",
    "Protected",
    "QuotaExceeded",
    "Reconfigured",
    "Refusal",
    "Request",
    "RequestSent",
    "Result",
    "Rule",
    "Scope",
    "Secret",
    "Settings",
    "Shared",
    "SharedUnavailable",
    "Stamped",
    "Stamps",
    "Stream",
    "StreamAborted",
    "Subscription",
    "SystemClock",
    "Tasks",
    "Timer",
    "Trouble",
    "Unable",
    "Unacceptable",
    "Undecodable",
    "UnknownOperation",
    "Upstream",
    "UpstreamError",
    "all_failed",
    "deprecated_arguments",
    "fingerprint",
    "fresh",
    "hookimpl",
    "hookspec",
    "is_final",
    "observes",
    "operation",
    "protect",
    "state_directory",
    "structure",
    "within",
]
