"""What can go wrong in a fleet."""

from __future__ import annotations

from argo_mw.plugin import ArgoError


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
