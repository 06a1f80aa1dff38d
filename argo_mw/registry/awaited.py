"""What the chain awaits: whether a function of a plugin can be, as far as its form tells."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Final

_ASYNC: Final = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE


def not_awaitable(what: str, function: object) -> str:
    """Return the error about *what*, a *function* that would fail when it is awaited, or "".

    A plain function may return what an async one has made; it says so by its annotation. What is
    not written in Python cannot be judged.
    """
    if _returns_awaitable(function):
        return ""
    return f"{what} is a plain function, and is awaited: write `async def`"


def _returns_awaitable(function: object) -> bool:
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", None)
    if not inspect.isroutine(function) and code is None:  # an object that can be called
        function = getattr(type(function), "__call__", function)  # noqa: B004 - not instance's
    function = inspect.unwrap(function) if callable(function) else function
    code = getattr(function, "__code__", code)
    if code is None or code.co_flags & _ASYNC:
        return True
    returned = str(getattr(function, "__annotations__", {}).get("return", ""))
    return "Awaitable" in returned or "Coroutine" in returned
