"""Many processes answer together: each symbol has its worker, on Dask distributed."""

from argo_mw_fleet.asking import Answers
from argo_mw_fleet.config import FleetConfig
from argo_mw_fleet.engine import Engine, WorkerNow
from argo_mw_fleet.errors import FleetError, FleetUnavailable, RemoteError, WorkerLost
from argo_mw_fleet.fleet import Fleet, open_fleet
from argo_mw_fleet.placement import place
from argo_mw_fleet.plugin import FleetPlugin
from argo_mw_fleet.rounds import Round
from argo_mw_fleet.schedule import Schedule

__all__ = [
    "Answers",
    "Engine",
    "Fleet",
    "FleetConfig",
    "FleetError",
    "FleetPlugin",
    "FleetUnavailable",
    "RemoteError",
    "Round",
    "Schedule",
    "WorkerLost",
    "WorkerNow",
    "open_fleet",
    "place",
]
