"""OpenTelemetry metrics and spans of what the chain does, also for Prometheus."""

from __future__ import annotations

from argo_mw_metrics.config import MetricsConfig
from argo_mw_metrics.instruments import Instruments
from argo_mw_metrics.spans import Spans

__all__ = ["Instruments", "MetricsConfig", "Spans"]
