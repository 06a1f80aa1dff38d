"""The gauge of the core's own."""

from __future__ import annotations

from argo_mw.plugin import Gauge, Tasks


def own_gauges(tasks: Tasks) -> list[Gauge]:
    """Return the gauge of the background tasks that *tasks* owns."""
    return [Gauge("argo_mw.tasks", lambda: len(tasks), "{task}", "Background tasks that run")]
