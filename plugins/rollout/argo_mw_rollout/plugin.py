"""What the plugin registers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from argo_mw.plugin import Context, Panel, hookimpl, suggest
from argo_mw_rollout.audits import Audits
from argo_mw_rollout.config import RolloutConfig
from argo_mw_rollout.controller import RampController
from argo_mw_rollout.panels import panels


class RolloutPlugin:
    """The plugin; it owns the task that judges, and checks some of what is served.

    Attributes:
        controller: Judges while this instance is the judge of the fleet.
    """

    def __init__(self) -> None:
        self._config = RolloutConfig()
        self._audits: Audits | None = None
        self._judging: asyncio.Task[None] | None = None
        self.controller: RampController | None = None

    @hookimpl
    def register_config(self) -> type:
        """Return the class of the table ``[plugins.rollout]``."""
        return RolloutConfig

    @hookimpl
    async def startup(self, config: RolloutConfig, context: Context) -> None:
        """Begin to judge, and to check what is served."""
        self._config = config
        self.controller = RampController(context, lambda: self._config)
        self._audits = Audits(context, lambda: self._config)
        self._audits.start()
        self._judging = context.tasks.spawn("rollout", self.controller.run())

    @hookimpl
    async def config_changed(self, config: RolloutConfig) -> None:
        """Follow a changed configuration; ramps that have begun keep their plans."""
        self._config = config

    @hookimpl
    async def shutdown(self) -> None:
        """Judge no more, so that another instance does at once."""
        if self._audits is not None:
            self._audits.stop()
        if self._judging is not None:
            self._judging.cancel()
            await asyncio.wait([self._judging])
        if self.controller is not None:
            await self.controller.resign()

    @hookimpl
    def register_panels(self, context: Context) -> Iterable[Panel]:
        """Return the panels of the ramps."""
        return panels(context)

    @hookimpl
    async def diagnose(self, context: Context) -> Iterable[tuple[str, bool, str]]:
        """Say which ramps hold or were rolled back, and which plans are for no flag."""
        from argo_mw_rollout.ramp_commands import place_of
        from argo_mw_rollout.ramps import Ramps

        flags = context.flags.all
        found = [
            (f"plan of {name}", False, f"there is no such flag here: {suggest(name, flags)}")
            for name in self._config.plans
            if name not in flags
        ]
        ramps = Ramps(context)
        for flag in await ramps.flags():
            ramp = (await ramps.read(flag)).ramp
            if ramp is not None and (ramp.loud or ramp.status == "rolled back"):
                why = ramp.hold or (ramp.journal[-1].why if ramp.journal else "")
                text = f"{ramp.status} at {place_of(ramp)}: {why}"
                found.append((f"ramp of {flag}", False, text))
        return found
