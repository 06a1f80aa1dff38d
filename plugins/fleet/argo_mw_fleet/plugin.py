"""The plugin: what it registers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from argo_mw.plugin import Context, OpenSpread, hookimpl
from argo_mw_fleet.config import FleetConfig
from argo_mw_fleet.fleet import fleet_at


class FleetPlugin:
    """The plugin, one for each application."""

    @hookimpl
    def register_config(self) -> type:
        """The class of the table ``[plugins.fleet]``."""
        return FleetConfig

    @hookimpl
    def register_spreads(self, config: FleetConfig, context: Context) -> Mapping[str, OpenSpread]:
        """Spread work over the workers of a scheduler of Dask, or over local ones."""
        opened = partial(fleet_at, config=config, context=context)
        return {"dask": opened, "local": opened}
