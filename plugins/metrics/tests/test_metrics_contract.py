"""The layer of metrics holds to the contract of layers."""

from argo_mw.testing import LayerConformance
from argo_mw_metrics.plugin import MetricsPlugin


class TestMetrics(LayerConformance):
    name = "metrics"
    plugin = MetricsPlugin()
