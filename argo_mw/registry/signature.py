"""Signatures: the arguments of a hook's implementation against those that the hook offers."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import pluggy
from pluggy import HookCaller

from argo_mw.base.errors import PluginError
from argo_mw.base.suggest import suggest

Hooks = object
"""pluggy's hook relay, whose attributes are the callers by name."""


def explained(error: Exception, name: str, plugin: object, hooks: Hooks) -> Exception:
    """Return *error* of registering *plugin* in words that say what to change, where possible."""
    if not isinstance(error, pluggy.PluginValidationError):
        return error
    for caller in vars(hooks).values():
        if not isinstance(caller, HookCaller) or caller.spec is None:
            continue
        function = getattr(plugin, caller.name, None)
        if hasattr(function, "argo_mw_impl"):
            wrong = misfit(caller, name, function)
            if wrong is not None:
                return wrong
    return error


def unmarked(plugin: object, hooks: Iterable[str]) -> str | None:
    """Return the first of *hooks* that *plugin* has a function for which is not marked.

    pluggy calls only what is marked with ``@hookimpl``, and overlooks the rest in silence. What a
    module has imported is not its own.
    """
    for hook in hooks:
        found = inspect.getattr_static(plugin, hook, None)
        function = found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
        if not inspect.isfunction(function) or hasattr(function, "argo_mw_impl"):
            continue
        if not inspect.ismodule(plugin) or function.__module__ == plugin.__name__:
            return hook
    return None


def misfit(caller: HookCaller, name: str, function: object) -> PluginError | None:
    """Return why *function* of plugin *name* cannot implement the hook, or ``None`` if it can."""
    assert caller.spec is not None
    assert callable(function)
    offered = list(caller.spec.argnames)
    asked = [p for p in inspect.signature(function).parameters if p != "self"]
    unknown = next((a for a in asked if a not in offered), None)
    if unknown is None:
        return None
    hint = suggest(unknown, offered)
    hint = hint if hint.startswith("did") else "name only those that it needs, or none"
    msg = (
        f"its {caller.name}({', '.join(asked)}) asks for {unknown!r}, which hook {caller.name!r} "
        f"does not offer: {caller.name}({', '.join(offered)}) is all there is; {hint}"
    )
    return PluginError(msg, plugin=name)
