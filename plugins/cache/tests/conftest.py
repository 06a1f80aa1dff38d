"""What most tests of the cache need: a clock, and no chance."""

from __future__ import annotations

import pytest

from argo_mw.testing import FakeClock
from argo_mw_cache import entry, loader


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(start=0.1)


@pytest.fixture
def no_luck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let jitter take nothing off, and draw no reader to refresh early."""
    monkeypatch.setattr(loader.random, "uniform", lambda low, high: high)
    monkeypatch.setattr(entry.random, "random", lambda: 0.0)
