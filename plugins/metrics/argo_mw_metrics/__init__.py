"""What the chain does, as OpenTelemetry metrics and spans and for Prometheus."""

from __future__ import annotations

from argo_mw_metrics.config import MetricsConfig
from argo_mw_metrics.instruments import Instruments
from argo_mw_metrics.spans import Spans

__all__ = ["Instruments", "MetricsConfig", "Spans"]
