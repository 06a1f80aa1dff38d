"""What can go wrong in a fleet."""

from __future__ import annotations

from argo_mw.plugin import ArgoError, printable


class FleetError(ArgoError):
    """The root of this plugin's errors."""


class FleetUnavailable(FleetError):
    """The scheduler cannot be reached, or no worker of ours is there."""


class WorkerLost(FleetError):
    """Workers left, or stopped answering, before they had answered about a subject."""


class RemoteError(FleetError):
    """An error that a worker met, of a kind that cannot travel.

    Attributes:
        original: The name of its class.
    """

    def __init__(self, message: str, *, original: str) -> None:
        super().__init__(message)
        self.original = original


def cause_of(error: BaseException) -> str:
    """Return in one line what is behind *error*: Dask wraps what went wrong, and says it there."""
    while error.__cause__ is not None:
        error = error.__cause__
    return printable(str(error)).strip().partition("\n")[0] or type(error).__name__
