"""Errors about names that do not exist."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from argo_mw.base.errors import ConfigError, UnknownOperation
from argo_mw.base.printable import brief
from argo_mw.base.suggest import suggest, suggest_with_absent


def unknown(
    what: str, name: str, known: Iterable[str], where: str, absent: Collection[str] = ()
) -> ConfigError:
    """Return the error for *where*, which names a *what* called *name* that does not exist.

    Plugins that are *absent* may be what brings it.
    """
    hint = suggest_with_absent(name, known, absent)
    return ConfigError(f"{where} names {what} {brief(name)}, which does not exist: {hint}")


def unknown_operation(name: str, operations: Iterable[str]) -> UnknownOperation:
    """Return the error for a call of operation *name*, which nothing offers."""
    msg = (
        f"the call names operation {brief(name)}, which does not exist (`argo-mw plugins` lists "
        f"those that do): {suggest(name, operations)}"
    )
    return UnknownOperation(msg)
