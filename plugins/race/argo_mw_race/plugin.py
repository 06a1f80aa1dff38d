"""The plugin's hooks."""

from __future__ import annotations

from collections.abc import Iterable

from argo_mw.plugin import Context, Guard, Layer, Panel, Upstream, hookimpl
from argo_mw_race.breaker import Breaker
from argo_mw_race.config import RaceConfig
from argo_mw_race.fan_out import NAME
from argo_mw_race.layer import Race
from argo_mw_race.panel import panel


@hookimpl
def register_config() -> type:
    """Return the class of the table ``[plugins.race]``."""
    return RaceConfig


@hookimpl
def register_layers(config: RaceConfig, context: Context) -> Iterable[Layer]:
    """Return the layer at the point where upstreams are selected."""
    return [Layer(NAME, Race(config, context), slot=NAME, fans_out=True)]


@hookimpl
def register_guards(config: RaceConfig, context: Context, upstream: Upstream) -> Iterable[Guard]:
    """Return the circuit breaker of *upstream*."""
    return [Breaker(upstream, config.breaker, context)] if config.breaker.failure_threshold else []


@hookimpl
def register_panels(context: Context) -> Iterable[Panel]:
    """Return the panel of what was learned about upstreams."""
    return [panel(context)]
