"""How much a layer remembers: what can be reached from it, counted."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodType, ModuleType

_NOT_ITS_OWN = (type, ModuleType, CodeType, FrameType, BuiltinFunctionType)


def remembered(root: object, *, outside: Iterable[object] = ()) -> int:
    """How many items the containers hold that can be reached from *root*.

    Args:
        root: Where to begin: a middleware.
        outside: Objects that are not followed, because they are not its own.
    """
    seen = {id(one) for one in outside}
    waiting = [root]
    items = 0
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, _NOT_ITS_OWN):
            continue
        seen.add(id(thing))
        if isinstance(thing, (dict, list, set)):
            items += len(thing)
        waiting.extend(_held_by(thing))
    return items


def _held_by(thing: object) -> Iterable[object]:
    """What *thing* refers to; of functions only what they closed over, never their module."""
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
