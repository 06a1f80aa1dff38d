"""The core's drivers pass the conformance suite of Shared."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from argo_mw.store.memory import MemoryShared
from argo_mw.store.memory_store import MemoryStore
from argo_mw.store.sqlite import open_sqlite
from argo_mw.testing.clock import FakeClock
from argo_mw.testing.refusing_store import RefusingStore
from argo_mw.testing.shared import SharedConformance, StoreUnderTest
from argo_mw.testing.slow_store import SlowStore


class TestMemory(SharedConformance):
    @pytest.fixture
    def store(self):
        clock, store = FakeClock(), MemoryStore()

        async def handle():
            return MemoryShared(store, clock=clock)

        return StoreUnderTest(handle, clock.advance)


class TestSlow(SharedConformance):
    """The store that tests use where a store must take its time."""

    @pytest.fixture(params=[0, 1, 3])
    def store(self, request):
        clock = FakeClock()
        first = SlowStore(clock=clock)

        async def handle():
            return SlowStore(first, clock=clock, turns=request.param)

        return StoreUnderTest(handle, clock.advance)


class TestRefusing(SharedConformance):
    """The store that tests use where a store must half work."""

    @pytest.fixture
    def store(self):
        clock, store, handles = FakeClock(), MemoryStore(), []

        async def handle():
            handles.append(RefusingStore(MemoryShared(store, clock=clock)))
            return handles[-1]

        async def refuse(abilities):
            for one in handles:
                one.refuse(abilities)

        return StoreUnderTest(handle, clock.advance, refuse=refuse)


class TestSqlite(SharedConformance):
    @pytest.fixture
    def store(self, tmp_path):
        clock, path = FakeClock(), tmp_path / "state" / "shared.db"

        @contextlib.asynccontextmanager
        async def block():
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                other.close()
                await clock.advance(1.0)

        return StoreUnderTest(
            lambda: open_sqlite(path, clock=clock, busy_timeout=0.3),
            clock.advance,
            block=block,
            limit=0.3,
        )
