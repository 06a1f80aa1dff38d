"""Tools for the tests of plugins and programs."""

# ruff: noqa: E402 - modules must be registered for rewriting before they are imported
import pytest

pytest.register_assert_rewrite(
    "argo_mw.testing.guards",
    "argo_mw.testing.layers",
    "argo_mw.testing.operations",
    "argo_mw.testing.shared",
    "argo_mw.testing.upstream_conformance",
)

from argo_mw.testing.blocking import blocking_calls
from argo_mw.testing.clock import FakeClock, settle
from argo_mw.testing.events import Captured, capture_events
from argo_mw.testing.guards import GuardConformance, GuardUnderTest, MakeGuard
from argo_mw.testing.layers import LayerConformance
from argo_mw.testing.operations import OperationConformance
from argo_mw.testing.plugins import FakePlugin
from argo_mw.testing.refusing_store import RefusingStore
from argo_mw.testing.slow_store import SlowStore
from argo_mw.testing.unreachable_store import UnreachableStore
from argo_mw.testing.upstream_conformance import FakeService, UpstreamConformance
from argo_mw.testing.upstreams import Scripted

__all__ = [
    "Captured",
    "FakeClock",
    "FakePlugin",
    "FakeService",
    "GuardConformance",
    "GuardUnderTest",
    "LayerConformance",
    "MakeGuard",
    "OperationConformance",
    "RefusingStore",
    "Scripted",
    "SlowStore",
    "UnreachableStore",
    "UpstreamConformance",
    "blocking_calls",
    "capture_events",
    "settle",
]
