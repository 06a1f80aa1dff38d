"""What the chain counts, as metrics for OpenTelemetry and Prometheus, and spans of its calls."""

from __future__ import annotations

from argo_mw_metrics.catalog import CATALOG
from argo_mw_metrics.config import MetricsConfig
from argo_mw_metrics.metric import Metric, Reading
from argo_mw_metrics.plugin import MetricsPlugin
from argo_mw_metrics.spans import Spans

__all__ = ["CATALOG", "Metric", "MetricsConfig", "MetricsPlugin", "Reading", "Spans"]
