"""The core's drivers pass the conformance suite of Shared."""

from __future__ import annotations

import pytest

from argo_mw.store.memory import MemoryShared, MemoryStore
from argo_mw.store.sqlite import open_sqlite
from argo_mw.testing.clock import FakeClock
from argo_mw.testing.shared import SharedConformance, StoreUnderTest


class TestMemory(SharedConformance):
    @pytest.fixture
    def store(self):
        clock, store = FakeClock(), MemoryStore()

        async def handle():
            return MemoryShared(store, clock=clock)

        return StoreUnderTest(handle, clock.advance)


class TestSqlite(SharedConformance):
    @pytest.fixture
    def store(self, tmp_path):
        clock = FakeClock()
        return StoreUnderTest(
            lambda: open_sqlite(tmp_path / "state" / "shared.db", clock=clock), clock.advance
        )
