"""What the plugin registers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

from argo_mw import Context, Gauge, Layer, hookimpl
from argo_mw_cache.config import CacheConfig
from argo_mw_cache.gauges import gauges
from argo_mw_cache.layer import NAME, Cache

if TYPE_CHECKING:
    import click

__all__ = ["CacheConfig"]

_caches: WeakKeyDictionary[Context, WeakSet[Cache]] = WeakKeyDictionary()
"""Of each application in this process, those that may still be at work."""


@hookimpl
def register_config() -> type:
    """The class of the table ``[plugins.cache]``."""
    return CacheConfig


@hookimpl
def register_layer(config: CacheConfig, context: Context) -> Layer:
    """The layer in its slot."""
    cache = Cache(config, context)
    _caches.setdefault(context, WeakSet()).add(cache)
    return Layer(
        NAME,
        cache,
        slot=NAME,
        peek=cache.peek if config.memory else None,
        lookup=cache.lookup if cache.shares else None,
        lookup_timeout=2 * config.shared_timeout,
        explain=cache.explain,
    )


@hookimpl
async def shutdown(context: Context) -> None:
    """Let what is on its way to the shared store arrive."""
    for cache in _caches.pop(context, ()):
        await cache.aclose()


@hookimpl
def register_gauges(context: Context) -> Iterable[Gauge]:
    """How full the memory level is."""
    return gauges(lambda: _caches.get(context, ()))


@hookimpl
def register_commands(cli: click.Group) -> None:
    """``argo-mw cache …``."""
    from argo_mw_cache.commands import cache

    cli.add_command(cache)
