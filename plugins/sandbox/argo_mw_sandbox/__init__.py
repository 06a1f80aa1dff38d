"""Loopback servers that speak the vendors' protocols, for tests, benches and demos.

The names are imported when they are first used: the command line loads every plugin at its start,
and the sandbox's servers and prices take half a second (0.47 s against 0.02 s).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argo_mw_sandbox.admin import Change
    from argo_mw_sandbox.clock import ReplayClock
    from argo_mw_sandbox.config import SandboxConfig
    from argo_mw_sandbox.faults import Fault
    from argo_mw_sandbox.latency import TYPICAL, Latency
    from argo_mw_sandbox.process import SandboxProcess
    from argo_mw_sandbox.quotas import FREE_PLAN, Quota
    from argo_mw_sandbox.server import Sandbox

__all__ = [
    "FREE_PLAN",
    "TYPICAL",
    "Change",
    "Fault",
    "Latency",
    "Quota",
    "ReplayClock",
    "Sandbox",
    "SandboxConfig",
    "SandboxProcess",
]

_HOMES = {
    "Change": "admin",
    "FREE_PLAN": "quotas",
    "Fault": "faults",
    "Latency": "latency",
    "Quota": "quotas",
    "ReplayClock": "clock",
    "Sandbox": "server",
    "SandboxConfig": "config",
    "SandboxProcess": "process",
    "TYPICAL": "latency",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module."""
    home = _HOMES.get(name)
    if home is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{home}"), name)
