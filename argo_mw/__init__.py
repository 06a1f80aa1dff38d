"""Plugin-based middleware for programs that call slow, metered services."""

from typing import TYPE_CHECKING

from argo_mw.base.lazy import lazily

if TYPE_CHECKING:
    from argo_mw.app.application import (
        Argo,
    )
    from argo_mw.app.blocking import (
        BlockingArgo,
        BlockingCaller,
    )
    from argo_mw.app.caller import (
        Caller,
        Options,
    )
    from argo_mw.app.declaring import (
        Wrapping,
    )
    from argo_mw.app.explain import (
        Explained,
    )
    from argo_mw.base.clock import (
        Clock,
        Timer,
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
    from argo_mw.config import (
        ArgoSettings,
        OperationSettings,
        Secret,
        SecretUrl,
        Settings,
        UpstreamSettings,
    )
    from argo_mw.model.outcome import (
        Attempt,
        Cost,
        Note,
        Outcome,
    )
    from argo_mw.registry import (
        BrokenPlugin,
    )
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "app.application": ("Argo",),
            "app.blocking": (
                "BlockingArgo",
                "BlockingCaller",
            ),
            "app.caller": (
                "Caller",
                "Options",
            ),
            "app.declaring": ("Wrapping",),
            "app.explain": ("Explained",),
            "base.clock": (
                "Clock",
                "Timer",
            ),
            "base.errors": (
                "Action",
                "AllUpstreamsFailed",
                "AllUpstreamsRefused",
                "ArgoError",
                "BadCall",
                "BadParameter",
                "BudgetExceeded",
                "CallCycle",
                "CircuitOpen",
                "Closed",
                "ConfigError",
                "DeadlineExceeded",
                "InvalidAnswer",
                "LayerUnavailable",
                "NotCopyable",
                "NotEncodable",
                "NotFound",
                "NotShareable",
                "PluginError",
                "QuotaExceeded",
                "Refusal",
                "ScopeConflict",
                "SharedUnavailable",
                "StreamAborted",
                "UnknownOperation",
                "Unsupported",
                "UpstreamError",
            ),
            "config": (
                "ArgoSettings",
                "OperationSettings",
                "Secret",
                "SecretUrl",
                "Settings",
                "UpstreamSettings",
            ),
            "model.outcome": (
                "Attempt",
                "Cost",
                "Note",
                "Outcome",
            ),
            "registry": ("BrokenPlugin",),
        },
    )

__version__ = "0.1.0"

__all__ = [
    "Action",
    "AllUpstreamsFailed",
    "AllUpstreamsRefused",
    "Argo",
    "ArgoError",
    "ArgoSettings",
    "Attempt",
    "BadCall",
    "BadParameter",
    "BlockingArgo",
    "BlockingCaller",
    "BrokenPlugin",
    "BudgetExceeded",
    "CallCycle",
    "Caller",
    "CircuitOpen",
    "Clock",
    "Closed",
    "ConfigError",
    "Cost",
    "DeadlineExceeded",
    "Explained",
    "InvalidAnswer",
    "LayerUnavailable",
    "NotCopyable",
    "NotEncodable",
    "NotFound",
    "NotShareable",
    "Note",
    "OperationSettings",
    "Options",
    "Outcome",
    "PluginError",
    "QuotaExceeded",
    "Refusal",
    "ScopeConflict",
    "Secret",
    "SecretUrl",
    "Settings",
    "SharedUnavailable",
    "StreamAborted",
    "Timer",
    "UnknownOperation",
    "Unsupported",
    "UpstreamError",
    "UpstreamSettings",
    "Wrapping",
]
