"""The flags set by command, for this machine and for the fleet, as chains are built with them."""

from __future__ import annotations

from collections.abc import Mapping

from argo_mw.app.building import PipelineBuilder
from argo_mw.app.pipeline import Pipeline
from argo_mw.config import Settings
from argo_mw.config.state_dir import state_directory
from argo_mw.flags import Rule
from argo_mw.flags.fleet import Fleet
from argo_mw.flags.fleet_follower import FleetFollower
from argo_mw.flags.overlay import Overlay


class FlagState:
    """Builds the chains of an application with the flags that are set by command.

    Args:
        builder: Builds them.
        fleet: Follows the flags of the fleet; ``None`` where the store is shared with nobody.
    """

    def __init__(self, builder: PipelineBuilder, fleet: FleetFollower | None) -> None:
        self.fleet = fleet
        self._builder = builder
        self._built_with: Mapping[str, Rule] = {}
        self._in_use: Mapping[str, Rule] = {}

    @property
    def has_news(self) -> bool:
        """Whether the fleet has set other flags than those that are in use."""
        return self._known.rules != self._in_use

    def mark_in_use(self) -> None:
        """Note that what was built last is in use; until then its flags count as news."""
        self._in_use = self._built_with

    def build(self, settings: Settings, previous: Pipeline | None) -> Pipeline:
        """Return a pipeline for *settings* with the flags as they are set now.

        Raises:
            ConfigError: It cannot be built.
            PluginError: A plugin is broken, in strict mode.
        """
        overlay = Overlay(state_directory(settings)).read()
        self._built_with = self._known.rules
        return self._builder.build_for_fleet(settings, overlay, self._known, previous)

    def rebuild(self, pipeline: Pipeline) -> Pipeline:
        """Return *pipeline* built anew, with the flags that it has.

        Raises:
            ConfigError: It cannot be built.
            PluginError: A plugin is broken, in strict mode.
        """
        return self._builder.build(
            pipeline.settings, pipeline.overlay, pipeline, fleet=pipeline.fleet
        )

    def try_out(self, pipeline: Pipeline, fleet: Mapping[str, Rule]) -> Pipeline:
        """Return *pipeline* as it would be if the fleet had set the rules *fleet*.

        Raises:
            ConfigError: It cannot be built.
        """
        return self._builder.build(pipeline.settings, pipeline.overlay, pipeline, fleet=fleet)

    @property
    def _known(self) -> Fleet:
        return Fleet() if self.fleet is None else self.fleet.known
