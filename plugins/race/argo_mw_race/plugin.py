"""What the plugin registers."""

from __future__ import annotations

from collections.abc import Iterable

from argo_mw.plugin import Context, Guard, Layer, Upstream, hookimpl
from argo_mw_race.breaker import Breaker
from argo_mw_race.config import RaceConfig
from argo_mw_race.contest import NAME
from argo_mw_race.layer import Race


@hookimpl
def register_config() -> type:
    """The class of the table ``[plugins.race]``."""
    return RaceConfig


@hookimpl
def register_layers(config: RaceConfig, context: Context) -> Iterable[Layer]:
    """The layer at the point where upstreams are chosen."""
    race = Race(config, context)
    return [Layer(NAME, race, slot=NAME, fans_out=True)]


@hookimpl
def register_guards(config: RaceConfig, context: Context, upstream: Upstream) -> Iterable[Guard]:
    """The circuit breaker of *upstream*."""
    return [Breaker(upstream, config.breaker, context)] if config.breaker.failures else []
