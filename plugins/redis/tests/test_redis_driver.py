"""The driver keeps the contract of Shared, on a real server."""

from __future__ import annotations

import pytest

from argo_mw.testing.shared import SharedConformance, StoreUnderTest
from argo_mw_redis import open_redis


class TestRedis(SharedConformance):
    @pytest.fixture
    def store(self, server):
        async def interrupt():
            server.command("CLIENT", "KILL", "SKIPME", "yes")

        return StoreUnderTest(lambda: open_redis(server.url), life=0.2, interrupt=interrupt)
