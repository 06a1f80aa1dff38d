"""What the plugin registers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from argo_mw.plugin import Context, Gauge, Layer, hookimpl
from argo_mw_cache.config import CacheConfig
from argo_mw_cache.gauges import gauges
from argo_mw_cache.layer import NAME, Cache

if TYPE_CHECKING:
    import click

__all__ = ["CacheConfig", "CachePlugin"]


class CachePlugin:
    """The plugin, one for each application."""

    def __init__(self) -> None:
        self._cache: Cache | None = None

    @hookimpl
    def register_config(self) -> type:
        """The class of the table ``[plugins.cache]``."""
        return CacheConfig

    @hookimpl
    def register_layers(self, config: CacheConfig, context: Context) -> Iterable[Layer]:
        """The layer in its slot."""
        self._cache = Cache(config, context)
        return [Layer(NAME, self._cache, slot=NAME)]

    @hookimpl
    def register_gauges(self) -> Iterable[Gauge]:
        """How full the memory level is."""
        return gauges(lambda: self._cache)

    @hookimpl
    def register_commands(self, cli: click.Group) -> None:
        """``argo-mw cache …``."""
        from argo_mw_cache.commands import cache

        cli.add_command(cache)
