"""A trial: the chains of a configuration, built as a start would, with no plugin started."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from argo_mw.app.building import PipelineBuilder
from argo_mw.app.engine import Engine
from argo_mw.app.opening import open_context
from argo_mw.app.pipeline import Pipeline
from argo_mw.base.clock import SystemClock
from argo_mw.base.tasks import Tasks
from argo_mw.config import Settings
from argo_mw.config.state_dir import state_directory
from argo_mw.flags.overlay import Overlay
from argo_mw.model.events import Events
from argo_mw.registry import BrokenPlugin, Plugins


@frozen
class Trial:
    """What a configuration comes to.

    Attributes:
        pipeline: The chains.
        plugins: The plugins in use.
        broken: Those that were left out, and why.
    """

    pipeline: Pipeline
    plugins: Plugins
    broken: Sequence[BrokenPlugin]


async def try_out(settings: Settings) -> Trial:
    """Return what *settings* come to, with the flags that are set for this machine.

    The shared store is opened and closed again, which takes no answer of a server. No plugin is
    started, and no upstream asked.

    Raises:
        ConfigError: They cannot be used.
        PluginError: A plugin is broken that is required, or any in strict mode.
    """
    argo = settings.argo
    plugins = Plugins.load(block=argo.block, strict=argo.strict, required=argo.required)
    engine = Engine(plugins, SystemClock(), Events(), Tasks())
    state_dir = state_directory(settings)
    context = await open_context(settings, plugins, engine, state_dir)
    try:
        builder = PipelineBuilder(plugins, context, engine.answering)
        pipeline = builder.build(settings, Overlay(state_dir).read())
    finally:
        await engine.tasks.aclose()
        await context.tag_versions.aclose()
        await context.epochs.aclose()
        await context.shared.aclose()
    return Trial(pipeline, plugins, tuple(plugins.broken))
