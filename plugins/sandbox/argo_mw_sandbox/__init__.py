"""Loopback servers that speak the vendors' protocols, for tests, benches and demos."""

from __future__ import annotations

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
