"""Running work whose size a vendor decides in a thread, if it would hold up the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MANY_BYTES: Final = 128 * 1024
"""Bytes of a body that take about a millisecond to decode."""
MANY_BARS: Final = 2000
"""Bars that take about two milliseconds to become a frame."""


async def off_loop(
    many: bool, function: Callable[P, T], *arguments: P.args, **options: P.kwargs
) -> T:
    """Return what *function* returns, called in a thread if there is *many* to do."""
    if many:
        return await asyncio.to_thread(function, *arguments, **options)
    return function(*arguments, **options)
