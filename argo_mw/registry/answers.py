"""Answers: what plugins return from the core's hooks, checked while the plugin is known.

An answer of the wrong type leaves its plugin out. Found later, while the chain is built, it would
end the start of the whole program.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping

import attrs

from argo_mw.base.errors import PluginError
from argo_mw.model.endpoint import Endpoint
from argo_mw.model.gauge import Gauge
from argo_mw.model.layer import Layer
from argo_mw.model.operation import Operation
from argo_mw.model.panel import Panel
from argo_mw.model.upstream import Upstream
from argo_mw.registry.awaited import not_awaitable
from argo_mw.registry.template import PluginTemplate

Wanted = tuple[str, Callable[[object], bool]]
"""A description of the answer that a hook needs, and a test for it."""


def checked(plugin: str, hook: str, answer: object) -> object:
    """Return *answer* as *hook* needs it: a tuple where the hook asks for several things.

    Raises:
        PluginError: It is of another type.
    """
    if hook in _ONE:
        words, fits = _ONE[hook]
        if not fits(answer):
            raise _wrong(plugin, hook, answer, words)
    if hook in _SEVERAL:
        words, fits = _SEVERAL[hook]
        if isinstance(answer, str) or not isinstance(answer, Iterable):
            raise _wrong(plugin, hook, answer, f"an iterable of {words}")
        answer = tuple(answer)
        fault_of = _FAULTS.get(hook, _no_fault)
        for one in answer:
            if not fits(one):
                raise _wrong(plugin, hook, one, f"an iterable of {words}", held=True)
            if fault := fault_of(one):
                raise PluginError(fault, plugin=plugin)
    return answer


def _wrong(plugin: str, hook: str, thing: object, wanted: str, *, held: bool = False) -> Exception:
    if inspect.iscoroutine(thing):
        thing.close()
        msg = f"{hook} is an async function; it must be a plain one that returns {wanted}"
    else:
        what = f"something that holds {_named(thing)}" if held else _named(thing)
        msg = f"{hook} returned {what}; it must return {wanted}"
    return PluginError(msg, plugin=plugin)


def _named(thing: object) -> str:
    if isinstance(thing, type):
        return f"the class {thing.__name__}"
    if inspect.isroutine(thing):
        return f"the function {thing.__name__}"
    return f"a value of type {type(thing).__name__}"


def _no_fault(thing: object) -> str:
    return ""


def _fault_of_layer(thing: object) -> str:
    assert isinstance(thing, Layer)
    return not_awaitable(f"the middleware of its layer {thing.name!r}", thing.middleware)


def _fault_of_upstream(thing: object) -> str:
    assert isinstance(thing, Upstream)
    what = f"of its upstream {thing.name!r}"
    fault = not_awaitable(f"fetch {what}", thing.fetch)
    if not fault and thing.batching is not None:
        fault = not_awaitable(f"fetch_many {what}", thing.batching.fetch_many)
    return fault


def _fault_of_endpoint(thing: object) -> str:
    assert isinstance(thing, Endpoint)
    return not_awaitable(f"read of its endpoint {thing.path!r}", thing.read)


def _fault_of_panel(thing: object) -> str:
    assert isinstance(thing, Panel)
    faults = (
        not_awaitable(f"press of button {one.name!r} of its panel {thing.name!r}", one.press)
        for one in thing.buttons
    )
    return next((fault for fault in faults if fault), "")


def _fault_of_guard(thing: object) -> str:
    what = f"of its guard {getattr(thing, 'name', type(thing).__name__)!r}"
    faults = (
        not_awaitable(f"{name} {what}", getattr(thing, name))
        for name in ("reserve", "release", "charge_extra", "dry_run")
        if hasattr(thing, name)
    )
    return next((fault for fault in faults if fault), "")


_FAULTS: Mapping[str, Callable[[object], str]] = {
    "register_layers": _fault_of_layer,
    "register_upstreams": _fault_of_upstream,
    "register_guards": _fault_of_guard,
    "register_endpoints": _fault_of_endpoint,
    "register_panels": _fault_of_panel,
}
"""What is wrong with an answer of the right type that would show at the first call, or ""."""


def _has_reserve(thing: object) -> bool:
    return callable(getattr(thing, "reserve", None)) and not isinstance(thing, type)


def _is_cost_table(thing: object) -> bool:
    return callable(getattr(thing, "record", None)) and not isinstance(thing, type)


def _is_config(thing: object) -> bool:
    return isinstance(thing, type) and attrs.has(thing)


def _is_mapping(thing: object) -> bool:
    return isinstance(thing, Mapping)


def _is_of_templates(thing: object) -> bool:
    return isinstance(thing, Mapping) and all(
        isinstance(one, PluginTemplate) for one in thing.values()
    )


def _is_a(cls: type) -> Callable[[object], bool]:
    return lambda thing: isinstance(thing, cls)


_AWAITABLE: Wanted = ("an awaitable: write `async def`", inspect.isawaitable)

_ONE: Mapping[str, Wanted] = {
    "register_config": ("an attrs class", _is_config),
    "register_shared_drivers": ("a mapping of URL schemes to functions", _is_mapping),
    "register_spreads": ("a mapping of schemes to functions", _is_mapping),
    "register_templates": (
        "a mapping of kinds to argo_mw.plugin.PluginTemplate",
        _is_of_templates,
    ),
    "register_cost_table": ("an argo_mw.plugin.CostTable, or None", _is_cost_table),
    "startup": _AWAITABLE,
    "config_changed": _AWAITABLE,
    "shutdown": _AWAITABLE,
    "diagnose": _AWAITABLE,
}

_SEVERAL: Mapping[str, Wanted] = {
    "register_flags": ("names of flags", _is_a(str)),
    "register_layers": ("argo_mw.plugin.Layer", _is_a(Layer)),
    "register_data_types": ("names of data types", _is_a(str)),
    "register_operations": (
        "argo_mw.plugin.Operation: mark functions with @operation()",
        _is_a(Operation),
    ),
    "register_derived_operations": ("argo_mw.plugin.Operation", _is_a(Operation)),
    "register_upstreams": ("argo_mw.plugin.Upstream", _is_a(Upstream)),
    "register_guards": ("argo_mw.plugin.Guard", _has_reserve),
    "register_observers": ("functions of an event", callable),
    "register_gauges": ("argo_mw.plugin.Gauge", _is_a(Gauge)),
    "register_panels": ("argo_mw.plugin.Panel", _is_a(Panel)),
    "register_endpoints": ("argo_mw.plugin.Endpoint", _is_a(Endpoint)),
}
