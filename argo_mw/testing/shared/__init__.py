"""The contract of :class:`argo_mw.plugin.Shared`, as tests that every driver must pass.

Subclass :class:`SharedConformance` and override the fixture ``store``::

    class TestMyDriver(SharedConformance):
        @pytest.fixture
        async def store(self, tmp_path):
            clock = FakeClock()
            yield StoreUnderTest(lambda: open_mine(tmp_path / "db", clock=clock), clock.advance)

For a server that keeps its own time, ``advance`` had best bring the expiry times of all keys
nearer. The default ``advance`` waits instead; ``ttl`` must then be short, yet longer than a busy
machine takes from one command to the next. The suite needs pytest, and pytest-asyncio in its
automatic mode.
"""

from __future__ import annotations

from argo_mw.testing.shared.away import AwayConformance
from argo_mw.testing.shared.callers import CallerConformance
from argo_mw.testing.shared.counters import CounterConformance
from argo_mw.testing.shared.half import HalfConformance
from argo_mw.testing.shared.leases import LeaseConformance
from argo_mw.testing.shared.leaving import LeavingConformance
from argo_mw.testing.shared.messages import MessageConformance
from argo_mw.testing.shared.tools import Listener, StoreUnderTest, eventually
from argo_mw.testing.shared.values import ValueConformance

__all__ = ["Listener", "SharedConformance", "StoreUnderTest", "eventually"]


class SharedConformance(
    ValueConformance,
    CounterConformance,
    LeaseConformance,
    MessageConformance,
    CallerConformance,
    LeavingConformance,
    AwayConformance,
    HalfConformance,
):
    """The whole contract of a driver."""
