"""What the plugin registers."""

from __future__ import annotations

from collections.abc import Iterable

from argo_mw.plugin import Context, Gauge, Layer, hookimpl
from argo_mw_cache.config import CacheConfig
from argo_mw_cache.gauges import gauges
from argo_mw_cache.layer import Cache
from argo_mw_cache.loader import NAME

__all__ = ["CacheConfig", "CachePlugin"]


class CachePlugin:
    """The plugin, one for each application."""

    def __init__(self) -> None:
        self._cache: Cache | None = None

    @hookimpl
    def register_config(self) -> type:
        """Return the class of the table ``[plugins.cache]``."""
        return CacheConfig

    @hookimpl
    def register_layers(self, config: CacheConfig, context: Context) -> Iterable[Layer]:
        """Return the layer, in its slot."""
        cache = Cache(config, context, self._use)
        return [Layer(NAME, cache, slot=NAME, find_timeout=cache.find_timeout)]

    @hookimpl
    def register_gauges(self) -> Iterable[Gauge]:
        """Return gauges of how full the memory level is."""
        return gauges(lambda: None if self._cache is None else self._cache.memory)

    def _use(self, cache: Cache) -> None:
        # Called when the layer opens: one whose configuration is rejected is made, but never opens.
        self._cache = cache
