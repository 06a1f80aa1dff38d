"""The contract of operations, for reads of what was recorded."""

from __future__ import annotations

from argo_mw.plugin import Clock, SystemClock
from argo_mw.testing import OperationConformance
from argo_mw_persist import PersistPlugin


class TestOperations(OperationConformance):
    name = "persist"
    plugin = PersistPlugin
    config = {"on_sigterm": False}  # noqa: RUF012
    parameters = {"answers": {"of": "bars"}, "spending": {}}  # noqa: RUF012

    def clock(self) -> Clock:
        return SystemClock()
