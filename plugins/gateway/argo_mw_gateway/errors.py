"""HTTP statuses for errors of the chain."""

from __future__ import annotations

import math
from typing import Final

from argo_mw.plugin import (
    AllUpstreamsFailed,
    ArgoError,
    BadCall,
    BudgetExceeded,
    Closed,
    DeadlineExceeded,
    LayerUnavailable,
    NotFound,
    Refusal,
    ScopeConflict,
    SharedUnavailable,
    UnknownOperation,
    UpstreamError,
)

_STATUSES: Final[tuple[tuple[type[ArgoError], int], ...]] = (
    (UnknownOperation, 404),
    (ScopeConflict, 403),
    (BadCall, 400),
    (BudgetExceeded, 402),
    (LayerUnavailable, 503),
    (Refusal, 429),
    (DeadlineExceeded, 504),
    (NotFound, 404),
    (UpstreamError, 502),
    (AllUpstreamsFailed, 502),
    (SharedUnavailable, 503),
    (Closed, 503),
)
"""The first class that an error belongs to decides."""


def status_of(error: ArgoError) -> int:
    """Return the status for *error*."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def retry_after(error: ArgoError, now: float) -> int | None:
    """Return the seconds after which to try again, or ``None`` if they are unknown.

    Args:
        error: The error.
        now: The time, in seconds since the epoch.
    """
    seconds: float | None = None
    if isinstance(error, Refusal) and error.retry_at is not None:
        seconds = error.retry_at - now
    elif isinstance(error, UpstreamError):
        seconds = error.retry_after
    return None if seconds is None else max(1, math.ceil(seconds))
