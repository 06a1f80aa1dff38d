"""Access to an application for authors of plugins, apart from what callers see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast

from argo_mw.app.application import Argo, context_of, engine_of
from argo_mw.base.errors import PluginError
from argo_mw.flags.control import FlagControl
from argo_mw.model.endpoint import Endpoint
from argo_mw.model.events import Observer
from argo_mw.model.layer import Layer
from argo_mw.registry.spread import OpenSpread

T = TypeVar("T")


def collect(argo: Argo, hook: str, **arguments: object) -> dict[str, object]:
    """Return what every plugin of *argo*, which need not be open, answers to *hook*, by plugin.

    Args:
        argo: The application.
        hook: The name of a hook.
        arguments: The arguments that the hook declares, by name.
    """
    return engine_of(argo).plugins.collect(hook, **arguments)


def observe(argo: Argo, observer: Observer) -> Callable[[], None]:
    """Hand every event of *argo* to *observer*; call what this returns to end that.

    Args:
        argo: The application, open or not.
        observer: Is called on the event loop and must not block; see
            :func:`~argo_mw.plugin.observes`.
    """
    events = engine_of(argo).events
    events.add(observer)
    return lambda: events.remove(observer)


def plugin_of(argo: Argo, kind: type[T]) -> T:
    """Return the plugin of *argo* that is a *kind*, for commands and tests of that plugin.

    Raises:
        PluginError: It is not installed, blocked, or was left out.
    """
    plugin = engine_of(argo).plugins.instance(kind)
    if plugin is None:
        raise _not_in_use(kind)
    return plugin


def config_of(argo: Argo, kind: type[T]) -> T:
    """Return the configuration of *argo*, open, that is a *kind*: that of the plugin it belongs to.

    Args:
        argo: The application.
        kind: The class that the plugin returns from ``register_config``.

    Raises:
        Closed: *argo* is not open.
        PluginError: The plugin is not installed, blocked, or was left out.
    """
    for one in engine_of(argo).pipeline.contributions.values():
        if isinstance(one.config, kind):
            return one.config
    raise _not_in_use(kind)


def flags_of(argo: Argo) -> FlagControl:
    """Return the flags of *argo*, and the means to change them.

    Raises:
        Closed: *argo* is not open.
    """
    return context_of(argo).flags


def layers_of(argo: Argo) -> Sequence[Layer]:
    """Return the layers of *argo* that act on any call or shadow it, outermost first.

    Raises:
        Closed: *argo* is not open.
    """
    return engine_of(argo).layers


def endpoints_of(argo: Argo) -> Mapping[str, Sequence[Endpoint]]:
    """Return the endpoints that the plugins of *argo* offer now, by plugin, sorted by name.

    Ask anew when :class:`~argo_mw.plugin.Reconfigured` was emitted.

    Raises:
        Closed: *argo* is not open.
    """
    engine, context = engine_of(argo), context_of(argo)
    found: dict[str, Sequence[Endpoint]] = {}
    for name, one in sorted(engine.pipeline.contributions.items()):
        asked = engine.plugins.call(name, "register_endpoints", config=one.config, context=context)
        if asked:
            found[name] = cast("Sequence[Endpoint]", asked)
    return found


def spreads_of(argo: Argo) -> Mapping[str, OpenSpread]:
    """Return what spreads the work of *argo* over many processes, by URL scheme.

    Of two plugins with one scheme, the first by name is taken.

    Raises:
        Closed: *argo* is not open.
    """
    engine, context = engine_of(argo), context_of(argo)
    found: dict[str, OpenSpread] = {}
    for name, one in sorted(engine.pipeline.contributions.items()):
        given = engine.plugins.call(name, "register_spreads", config=one.config, context=context)
        found = {**cast("Mapping[str, OpenSpread]", given or {}), **found}
    return found


def _not_in_use(kind: type) -> PluginError:
    msg = (
        f"the plugin of {kind.__module__}.{kind.__qualname__} is not in use; `argo-mw plugins` "
        "lists those that are"
    )
    return PluginError(msg, plugin=kind.__module__.partition(".")[0])
