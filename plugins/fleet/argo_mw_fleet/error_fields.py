"""Errors on their way between processes: their kinds by name, and the fields that each has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from argo_mw.plugin import (
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
from argo_mw_fleet.errors import FleetError, FleetUnavailable, RemoteError, WorkerLost

_UPSTREAM: Final = ("upstream", "action", "retry_after", "status")
_FIELDS: Final[Mapping[type[ArgoError], tuple[str, ...]]] = {
    **dict.fromkeys((ArgoError, BadCall, BadParameter, UnknownOperation, CallCycle), ()),
    **dict.fromkeys((ScopeConflict, DeadlineExceeded, NotEncodable, NotShareable), ()),
    **dict.fromkeys((StreamAborted, Closed, ConfigError), ()),
    **dict.fromkeys((FleetError, FleetUnavailable, WorkerLost), ()),
    **dict.fromkeys((Refusal, QuotaExceeded, BudgetExceeded, CircuitOpen), ("retry_at",)),
    **dict.fromkeys((UpstreamError, Unsupported, InvalidAnswer), _UPSTREAM),
    NotFound: ("upstream", "action", "status"),
    AllUpstreamsFailed: ("causes",),
    AllUpstreamsRefused: ("causes", "retry_at"),
    LayerUnavailable: ("layer",),
    PluginError: ("plugin",),
    SharedUnavailable: ("uncertain",),
    NotCopyable: ("original",),
    RemoteError: ("original",),
}
"""The kinds of errors that arrive as what they are, and their fields beside the message."""

_KINDS: Final = {kind.__name__: kind for kind in _FIELDS}


def error_fields(error: Exception) -> dict[str, object]:
    """Return *error* as plain data; of a kind that does not travel, its nearest kind that does."""
    for kind in type(error).__mro__:
        names = _FIELDS.get(kind)
        if names is not None:
            fields = {name: _plain(getattr(error, name)) for name in names}
            return {"kind": kind.__name__, "message": str(error), **fields}
    name = type(error).__name__
    return {"kind": "RemoteError", "message": f"{name}: {error}", "original": name}


def error_from(fields: object) -> Exception:
    """Return the error that was written as *fields*, whatever those are."""
    try:
        given: dict[str, Any] = dict(fields)  # type: ignore[call-overload]
        kind = _KINDS[given.pop("kind")]
        message = str(given.pop("message"))
        return kind(message, **{name: _read(name, value) for name, value in given.items()})
    except (AttributeError, KeyError, TypeError, ValueError):
        return RemoteError("a worker sent an error that cannot be read", original="unknown")


def _plain(value: object) -> object:
    match value:
        case Action():
            return value.value
        case tuple():
            return [error_fields(one) for one in value]
        case _:
            return value


def _read(name: str, value: Any) -> object:
    match name:
        case "action":
            return Action(value)
        case "causes":
            return [error_from(one) for one in value]
        case _:
            return value
