"""Work whose size a provider decides: in a thread where it would hold the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MANY_BYTES: Final = 64 * 1024
"""Bytes of a body that take a few milliseconds to become an SDK's objects."""


async def off_loop(
    many: bool, function: Callable[P, T], *arguments: P.args, **options: P.kwargs
) -> T:
    """Return what *function* returns, called in a thread if there is *many* to do."""
    if many:
        return await asyncio.to_thread(function, *arguments, **options)
    return function(*arguments, **options)
