"""The layer of adaptive_ttl keeps the contract of layers."""

from __future__ import annotations

from typing import ClassVar

import pytest

from argo_mw.testing import LayerConformance
from argo_mw_adaptive_ttl import AdaptiveTtlPlugin, calendars


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower a bound that no test would reach: for how many symbols calendars are remembered."""
    monkeypatch.setattr(calendars, "_MAX_SYMBOLS", 100)


class TestAdaptiveTtl(LayerConformance):
    name = "adaptive_ttl"
    plugin = AdaptiveTtlPlugin
    tight: ClassVar[dict[str, object]] = {"max_symbols": 100}
