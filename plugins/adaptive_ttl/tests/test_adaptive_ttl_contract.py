"""The layer of adaptive_ttl holds to the contract of layers."""

from __future__ import annotations

from typing import ClassVar

import pytest

from argo_mw.testing import LayerConformance
from argo_mw_adaptive_ttl import calendars, plugin


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of calendars are remembered for so many symbols that no test would meet the end."""
    monkeypatch.setattr(calendars, "_MAX_SYMBOLS", 100)


class TestAdaptiveTtl(LayerConformance):
    name = "adaptive_ttl"
    plugin = plugin
    tight: ClassVar[dict[str, object]] = {"symbols": 100}
