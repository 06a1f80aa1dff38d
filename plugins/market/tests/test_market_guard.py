"""The guard that believes Alpaca's own count of its quota keeps the contract of guards."""

from __future__ import annotations

import pytest

from argo_mw.plugin import Request
from argo_mw.testing import GuardConformance, GuardUnderTest, MakeGuard, Scripted
from argo_mw_market.header_quota import HeaderQuota


class CountsForItself:
    """What the guard asks of Alpaca's client."""

    def __init__(self, clock: object) -> None:
        self.name = "alpaca"
        self.clock = clock
        self.closed_until = 0.0


class TestHeaderQuota(GuardConformance):
    @pytest.fixture
    def make_guard(self) -> MakeGuard:
        async def make(store, clock):
            alpaca = CountsForItself(clock)

            async def taken():
                return alpaca.closed_until

            async def exhaust():
                alpaca.closed_until = clock.time() + 30.0

            upstream = Scripted("alpaca", ["bars"]).upstream
            guard = HeaderQuota(alpaca)
            return GuardUnderTest(guard, lambda: Request(upstream, ()), taken, exhaust)

        return make
