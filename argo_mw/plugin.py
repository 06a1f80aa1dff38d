"""What authors of plugins need."""

from argo_mw import (
    Argo,
    BrokenPlugin,
    Caller,
    Explained,
)
from argo_mw.app.access import (
    collect,
    config_of,
    endpoints_of,
    flags_of,
    layers_of,
    observe,
    plugin_of,
)
from argo_mw.app.application import (
    context_of,
)
from argo_mw.base.amounts import (
    dollars,
)
from argo_mw.base.cancellation import (
    is_failure,
    is_time_limit,
)
from argo_mw.base.clock import (
    Clock,
    SystemClock,
    Timer,
)
from argo_mw.base.deadline import (
    TimeLimitExceeded,
    error_for_client,
    fail_at,
    limited_wait,
)
from argo_mw.base.durations import (
    seconds,
)
from argo_mw.base.error_copies import (
    copy_error,
)
from argo_mw.base.errors import (
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
    InvalidAnswer,
    LayerUnavailable,
    NotCopyable,
    NotEncodable,
    NotFound,
    NotShareable,
    PartlyFailed,
    PluginError,
    QuotaExceeded,
    Refusal,
    ScopeConflict,
    SharedUnavailable,
    StreamAborted,
    UnknownOperation,
    Unsupported,
    UpstreamError,
)
from argo_mw.base.fingerprint import (
    fingerprint,
)
from argo_mw.base.heap import freeze_heap
from argo_mw.base.histogram import (
    Histogram,
)
from argo_mw.base.host_names import (
    HostNames,
    is_loopback,
)
from argo_mw.base.html_table import (
    html_grid,
    html_table,
)
from argo_mw.base.ids import (
    TimeOrderedIds,
)
from argo_mw.base.log import (
    Log,
)
from argo_mw.base.log_setup import (
    add_trace,
    log_form,
    set_up_log,
)
from argo_mw.base.loop_stalls import (
    StallAwareLimit,
    stall_aware_timeout,
)
from argo_mw.base.memory_shares import (
    MemoryShares,
)
from argo_mw.base.printable import printable
from argo_mw.base.private_file import (
    locked_file,
    replace_file,
)
from argo_mw.base.request_headers import (
    is_of_balancer,
    leaves_answers_alone,
)
from argo_mw.base.suggest import (
    suggest,
)
from argo_mw.base.tasks import (
    Tasks,
)
from argo_mw.base.timestamps import (
    MICROSECONDS,
    from_utc,
    iso_time,
    micros,
    timestamp_of,
)
from argo_mw.base.turns import (
    Turns,
)
from argo_mw.base.web_guard import (
    WebGuard,
    WebRefusal,
    bearer_token,
    is_cross_site,
    load_or_create_token,
)
from argo_mw.base.write_limit import (
    WriteLimit,
)
from argo_mw.chain.claims import (
    Claim,
    Claims,
    ClaimWanted,
)
from argo_mw.chain.context import (
    Context,
)
from argo_mw.chain.panels import (
    Panels,
)
from argo_mw.chain.refresh import (
    Refresh,
)
from argo_mw.chain.runtime import (
    Runtime,
)
from argo_mw.chain.select import (
    all_failed,
    is_final,
)
from argo_mw.config import (
    ArgoSettings,
    Duration,
    OperationSettings,
    Secret,
    SecretUrl,
    Settings,
    Shown,
    Size,
    UpstreamSettings,
    redact,
    redact_url,
    structure,
)
from argo_mw.config.state_dir import (
    state_directory,
)
from argo_mw.counters.counts import (
    BLAMELESS,
    Counts,
    InstanceCounts,
    total,
)
from argo_mw.counters.instance import (
    AUDIT,
)
from argo_mw.counters.moved_requests import (
    moved,
)
from argo_mw.counters.published import (
    Counters,
    CountersOf,
)
from argo_mw.counters.shadow_result import (
    ShadowResult,
)
from argo_mw.counters.subject_counts import (
    Block,
    SubjectCounts,
)
from argo_mw.counters.upstream_counts import (
    ModelCounts,
    UpstreamCounts,
)
from argo_mw.counters.watched_flags import (
    Watch,
)
from argo_mw.flags import (
    Asker,
    Decision,
    DecisionReason,
    Flag,
    Rule,
)
from argo_mw.flags.control import (
    FlagControl,
)
from argo_mw.model.call import (
    ALONE,
    ASKED_AT,
    ENDS_WITH_CALLERS,
    ON_SENT,
    OWN_FAILURES,
    Call,
)
from argo_mw.model.charge import (
    Charge,
    ChargeStatus,
    CostTable,
    CostTotals,
)
from argo_mw.model.copies import (
    OutcomeCopies,
    own_value,
)
from argo_mw.model.endpoint import (
    Endpoint,
    WebCall,
    WebCaller,
    WebRequest,
    WebResponse,
    WebStream,
    plain_refusal,
)
from argo_mw.model.events import (
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
    RequestSettled,
    Shadowed,
    Trouble,
    observes,
)
from argo_mw.model.gauge import (
    Gauge,
)
from argo_mw.model.guard import (
    CountingGuard,
    DryRunGuard,
    Guard,
    Left,
    Request,
    Result,
    Standing,
    StandingGuard,
)
from argo_mw.model.handover import (
    HANDOVER,
    Handover,
    Kept,
)
from argo_mw.model.layer import (
    SLOTS,
    Found,
    Layer,
    Middleware,
    Next,
)
from argo_mw.model.lineage import (
    Lineage,
)
from argo_mw.model.operation import (
    AnyOperation,
    Kind,
    Operation,
    Scope,
    operation,
    scope_of,
)
from argo_mw.model.outcome import (
    NO_COST,
    Attempt,
    Cost,
    Note,
    Outcome,
)
from argo_mw.model.panel import (
    Button,
    Column,
    Line,
    Panel,
    Plot,
    Shape,
    Tone,
    Unit,
    View,
)
from argo_mw.model.recording import (
    AnsweredCall,
    Cell,
    Recording,
    Row,
)
from argo_mw.model.snapshot import (
    ButtonNow,
    InstanceNow,
    JournalEntry,
    LayerNow,
    OperationNow,
    Overview,
    PanelNow,
    ProgramsNow,
    UpstreamNow,
)
from argo_mw.model.spending import (
    SPENDING_LIMIT,
    SpendingLimit,
)
from argo_mw.model.stream import (
    Stream,
)
from argo_mw.model.upstream import (
    UNLIMITED,
    Batching,
    Limits,
    Probe,
    Upstream,
)
from argo_mw.registry import (
    PluginTemplate,
)
from argo_mw.registry.hooks import (
    hookimpl,
    hookspec,
)
from argo_mw.registry.spread import (
    OpenSpread,
    Spread,
)
from argo_mw.store import (
    Codecs,
    Count,
    EncryptionKeys,
    Envelope,
    Epoch,
    Epochs,
    Freshness,
    GiveBacks,
    Lease,
    Shared,
    Subscription,
    TagSnapshot,
    TagVersions,
    Undecodable,
    UndecodableReason,
    Witness,
    Write,
)
from argo_mw.store.journal import (
    Journal,
)

__all__ = [
    "ALONE",
    "ASKED_AT",
    "AUDIT",
    "BLAMELESS",
    "ENDS_WITH_CALLERS",
    "HANDOVER",
    "MICROSECONDS",
    "NO_COST",
    "ON_SENT",
    "OWN_FAILURES",
    "SLOTS",
    "SPENDING_LIMIT",
    "UNLIMITED",
    "Action",
    "AllUpstreamsFailed",
    "AllUpstreamsRefused",
    "AnswerSeen",
    "AnsweredCall",
    "AnyOperation",
    "Argo",
    "ArgoError",
    "ArgoSettings",
    "Asker",
    "Attempt",
    "AttemptEnded",
    "BadCall",
    "BadParameter",
    "Batching",
    "Block",
    "BrokenPlugin",
    "BudgetExceeded",
    "Button",
    "ButtonNow",
    "Call",
    "CallCycle",
    "CallEnded",
    "Caller",
    "Cell",
    "Charge",
    "ChargeStatus",
    "CircuitOpen",
    "Claim",
    "ClaimWanted",
    "Claims",
    "Clock",
    "Closed",
    "Codecs",
    "Column",
    "ConfigError",
    "Context",
    "Cost",
    "CostTable",
    "CostTotals",
    "Count",
    "Counters",
    "CountersOf",
    "CountingGuard",
    "Counts",
    "DeadlineExceeded",
    "Decision",
    "DecisionReason",
    "DryRunGuard",
    "Duration",
    "EncryptionKeys",
    "Endpoint",
    "Envelope",
    "Epoch",
    "Epochs",
    "Event",
    "Events",
    "Explained",
    "Flag",
    "FlagControl",
    "Found",
    "Freshness",
    "Gauge",
    "GiveBacks",
    "Guard",
    "Handover",
    "Histogram",
    "HostNames",
    "InstanceCounts",
    "InstanceNow",
    "InvalidAnswer",
    "Journal",
    "JournalEntry",
    "Kept",
    "Kind",
    "Layer",
    "LayerActed",
    "LayerBypassed",
    "LayerNow",
    "LayerUnavailable",
    "Lease",
    "Left",
    "Limits",
    "Line",
    "Lineage",
    "Log",
    "MemoryShares",
    "Middleware",
    "ModelCounts",
    "Next",
    "NotCopyable",
    "NotEncodable",
    "NotFound",
    "NotShareable",
    "Note",
    "Observer",
    "OpenSpread",
    "Operation",
    "OperationNow",
    "OperationSettings",
    "Outcome",
    "OutcomeCopies",
    "Overview",
    "Panel",
    "PanelNow",
    "Panels",
    "PartlyFailed",
    "Plot",
    "PluginError",
    "PluginTemplate",
    "Probe",
    "ProgramsNow",
    "QuotaExceeded",
    "Reconfigured",
    "Recording",
    "Refresh",
    "Refusal",
    "Request",
    "RequestSent",
    "RequestSettled",
    "Result",
    "Row",
    "Rule",
    "Runtime",
    "Scope",
    "ScopeConflict",
    "Secret",
    "SecretUrl",
    "Settings",
    "ShadowResult",
    "Shadowed",
    "Shape",
    "Shared",
    "SharedUnavailable",
    "Shown",
    "Size",
    "SpendingLimit",
    "Spread",
    "StallAwareLimit",
    "Standing",
    "StandingGuard",
    "Stream",
    "StreamAborted",
    "SubjectCounts",
    "Subscription",
    "SystemClock",
    "TagSnapshot",
    "TagVersions",
    "Tasks",
    "TimeLimitExceeded",
    "TimeOrderedIds",
    "Timer",
    "Tone",
    "Trouble",
    "Turns",
    "Undecodable",
    "UndecodableReason",
    "Unit",
    "UnknownOperation",
    "Unsupported",
    "Upstream",
    "UpstreamCounts",
    "UpstreamError",
    "UpstreamNow",
    "UpstreamSettings",
    "View",
    "Watch",
    "WebCall",
    "WebCaller",
    "WebGuard",
    "WebRefusal",
    "WebRequest",
    "WebResponse",
    "WebStream",
    "Witness",
    "Write",
    "WriteLimit",
    "add_trace",
    "all_failed",
    "bearer_token",
    "collect",
    "config_of",
    "context_of",
    "copy_error",
    "dollars",
    "endpoints_of",
    "error_for_client",
    "fail_at",
    "fingerprint",
    "flags_of",
    "freeze_heap",
    "from_utc",
    "hookimpl",
    "hookspec",
    "html_grid",
    "html_table",
    "is_cross_site",
    "is_failure",
    "is_final",
    "is_loopback",
    "is_of_balancer",
    "is_time_limit",
    "iso_time",
    "layers_of",
    "leaves_answers_alone",
    "limited_wait",
    "load_or_create_token",
    "locked_file",
    "log_form",
    "micros",
    "moved",
    "observe",
    "observes",
    "operation",
    "own_value",
    "plain_refusal",
    "plugin_of",
    "printable",
    "redact",
    "redact_url",
    "replace_file",
    "scope_of",
    "seconds",
    "set_up_log",
    "stall_aware_timeout",
    "state_directory",
    "structure",
    "suggest",
    "timestamp_of",
    "total",
]
