"""Cache holds to the contract of layers."""

from argo_mw.testing import LayerConformance
from argo_mw_cache import CachePlugin


class TestCache(LayerConformance):
    name = "cache"
    plugin = CachePlugin
    tight = {"max_entries": 200}  # noqa: RUF012 - as the suite has it
