"""Counting the items that a layer keeps, to find state without a bound."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodType, ModuleType

_SHARED_TYPES = (type, ModuleType, CodeType, FrameType, BuiltinFunctionType)


def remembered(root: object, *, outside: Iterable[object] = ()) -> int:
    """Count the items in all containers that can be reached from *root*.

    Args:
        root: The object to begin with: a middleware.
        outside: Objects that are not followed, because they do not belong to *root*.
    """
    seen = {id(one) for one in outside}
    waiting = [root]
    items = 0
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, _SHARED_TYPES):
            continue
        seen.add(id(thing))
        if isinstance(thing, (dict, list, set)):
            items += len(thing)
        waiting.extend(_held_by(thing))
    return items


def _held_by(thing: object) -> Iterable[object]:
    """Return what *thing* refers to; of a function its closure only, never its module."""
    if isinstance(thing, FunctionType):
        return [cell.cell_contents for cell in thing.__closure__ or () if _is_filled(cell)]
    if isinstance(thing, MethodType):
        return [thing.__self__]
    return gc.get_referents(thing)


def _is_filled(cell: object) -> bool:
    try:
        cell.cell_contents  # type: ignore[attr-defined]  # noqa: B018
    except ValueError:
        return False
    return True
