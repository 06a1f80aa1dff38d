"""The hooks that a plugin may implement.

A plugin is a module, or any object, whose functions are marked with :data:`hookimpl` and named
after the hooks below. pluggy finds, checks and calls them when the chain is built, never per
request. A hook receives only the arguments that its implementation names; none has a default.

``config`` is always the plugin's own configuration: an instance of the class that its
:func:`register_config` returned, or ``None`` when it has none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

import pluggy

from argo_mw.model.charge import CostTable
from argo_mw.model.endpoint import Endpoint
from argo_mw.model.events import Observer
from argo_mw.model.gauge import Gauge
from argo_mw.model.guard import Guard
from argo_mw.model.layer import Layer
from argo_mw.model.operation import AnyOperation
from argo_mw.model.panel import Panel
from argo_mw.model.upstream import Upstream
from argo_mw.registry.discovery import PROJECT
from argo_mw.registry.spread import OpenSpread
from argo_mw.registry.template import PluginTemplate
from argo_mw.store.urls import OpenShared

if TYPE_CHECKING:
    import click

    from argo_mw.chain.context import Context
    from argo_mw.store.codec import Codecs

F = TypeVar("F", bound=Callable[..., object])

hookspec = pluggy.HookspecMarker(PROJECT)
"""Marks a hook that a plugin declares for others."""
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's implementation of a hook."""


@hookspec
def register_config() -> type:  # type: ignore[empty-body]
    """Return the attrs class of the plugin's table ``[plugins.NAME]``; every field needs a default.

    A field ``operations`` that is a mapping holds tables by operation: the core refuses names
    that no plugin offers.
    """


@hookspec
def register_hookspecs() -> object:
    """Return a module or class with hooks of the plugin's own, marked with :data:`hookspec`.

    Other plugins implement them like the core's. The plugin calls them with
    :meth:`~argo_mw.plugin.Context.collect`.
    """


@hookspec
def register_flags() -> Iterable[str]:  # type: ignore[empty-body]
    """Return names of further flags, each beginning with the plugin's name and a dot.

    The plugin evaluates them for single calls with :meth:`~argo_mw.plugin.Context.flag`.
    """


@hookspec
def register_data_types() -> Iterable[str]:  # type: ignore[empty-body]
    """Return names of kinds of data that operations may declare, such as ``weather``.

    Layers may use them: some kinds of data stay true for longer than others.
    """


@hookspec
def register_shared_drivers() -> Mapping[str, OpenShared]:  # type: ignore[empty-body]
    """Return drivers of :class:`~argo_mw.store.Shared`, by URL scheme."""


@hookspec
def register_codecs(codecs: Codecs) -> None:
    """Add codecs for further types to the registry."""


@hookspec
def register_operations(config: object) -> Iterable[AnyOperation]:  # type: ignore[empty-body]
    """Return the operations that the plugin offers."""


@hookspec
def register_derived_operations(  # type: ignore[empty-body]
    config: object, context: Context, operations: Mapping[str, AnyOperation]
) -> Iterable[AnyOperation]:
    """Return operations that depend on what other plugins offer, such as in their scope.

    Called whenever the chain is built, after :func:`register_operations` and
    :func:`register_upstreams` of all plugins, so that derived operations follow every change. An
    operation that differs from the one before in some field counts as a change of the plugin's
    configuration.

    Args:
        config: The plugin's configuration.
        context: The services of the application.
        operations: What the plugins and the program register, by name, with what was derived so
            far; :func:`~argo_mw.plugin.scope_of` is the scope of an operation that asks some.
    """


@hookspec
def register_upstreams(config: object, context: Context) -> Iterable[Upstream]:  # type: ignore[empty-body]
    """Return the upstreams that the plugin brings."""


@hookspec
def register_guards(config: object, context: Context, upstream: Upstream) -> Iterable[Guard]:  # type: ignore[empty-body]
    """Return guards for *upstream*, asked in the order of the plugins' names.

    Guards of a plugin with a layer follow its flag: they are not asked while it is off for every
    call.
    """


@hookspec
def register_layers(config: object, context: Context) -> Iterable[Layer]:  # type: ignore[empty-body]
    """Return the plugin's layers, which bear the plugin's name and share its flag.

    Called once for each configuration: a rebuilt chain reuses the layers while the configuration
    is unchanged. The core opens and closes them, and lets a new one take over from the one that
    it replaces: see :class:`~argo_mw.plugin.Middleware`.
    """


@hookspec
def register_observers(config: object, context: Context) -> Iterable[Observer]:  # type: ignore[empty-body]
    """Return functions that receive events; see :func:`~argo_mw.plugin.observes`.

    Observers of a plugin with a layer follow its flag: they receive nothing while it is off for
    every call.
    """


@hookspec
def register_gauges(context: Context) -> Iterable[Gauge]:  # type: ignore[empty-body]
    """Return gauges of current values, such as the length of a queue.

    Plugins for monitoring collect them once, when they start, with
    :meth:`~argo_mw.plugin.Context.collect`. A gauge outlives changes of the configuration, and
    reads the current state.
    """


@hookspec
def register_panels(context: Context) -> Iterable[Panel]:  # type: ignore[empty-body]
    """Return panels: what the plugin shows to people, as plain data.

    ``argo-mw top`` and the dashboard draw them. Called once, after all plugins have started; a
    panel outlives changes of the configuration, and reads the current state.
    """


@hookspec
def register_cost_table(config: object, context: Context) -> CostTable | None:
    """The table in which the plugin keeps what requests cost; ``None`` to keep nothing.

    Each charge is kept by one table: the first that takes it, those that stand in coming last.
    `argo-mw costs` adds up all tables. That of a plugin with a layer goes with its flag.
    """


@hookspec
def register_endpoints(config: object, context: Context) -> Iterable[Endpoint]:  # type: ignore[empty-body]
    """Return endpoints: HTTP requests that the plugin answers, for programs of any language.

    A plugin that serves HTTP asks for them with :func:`~argo_mw.plugin.endpoints_of`, when it
    begins and whenever the chain was rebuilt. It authenticates clients, checks what they may ask,
    limits what they send, and passes complete requests on. Without such a plugin, the hook is not
    called.
    """


@hookspec
def register_spreads(config: object, context: Context) -> Mapping[str, OpenSpread]:  # type: ignore[empty-body]
    """Return what spreads work over many processes, by URL scheme.

    Commands that ask about many subjects take such a URL as ``--on``, and open it with
    :func:`argo_mw.cli.spread`, which asks for them at that moment.
    """


@hookspec
def register_commands(cli: click.Group) -> None:
    """Add commands to ``argo-mw``, for a plugin that declares none in its metadata.

    A command that the entry-point group ``argo_mw.commands`` names is listed without being
    imported, and this hook is not called for the plugins of a distribution with such entries. It is
    for commands that depend on what is installed, or that belong into another plugin's group.
    """


@hookspec
def register_templates() -> Mapping[str, PluginTemplate]:  # type: ignore[empty-body]
    """Kinds of plugins that extend this one, by name, for ``argo-mw new-plugin`` to write."""


@hookspec
def startup(config: object, context: Context) -> Awaitable[None]:  # type: ignore[empty-body]
    """Open what the plugin needs, before the first call; ``async def`` is natural.

    A plugin whose ``startup`` raises is left out, and what it has spawned is cancelled;
    :class:`~argo_mw.plugin.PartlyFailed` says that the rest of it works.
    """


@hookspec
def config_changed(config: object, context: Context) -> Awaitable[None]:  # type: ignore[empty-body]
    """React to a change of the plugin's configuration, after the chain was rebuilt with it."""


@hookspec
def shutdown(context: Context) -> Awaitable[None]:  # type: ignore[empty-body]
    """Flush and close, after the last call; plugins stop in the reverse order of starting."""


@hookspec
def diagnose(config: object, context: Context) -> Awaitable[Iterable[tuple[str, bool, str]]]:  # type: ignore[empty-body]
    """Return findings for ``argo-mw doctor``: ``(what, whether it works, finding or advice)``."""
