"""Work that would hold the event loop, in threads."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MANY_BYTES: Final = 64 * 1024
"""Bytes of a body that take a few milliseconds to become an SDK's objects."""

_MAX_THREADS: Final = 10_000
"""More than a process has callers that wait for a synchronous client, each in a thread anyway."""

_senders = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="argo-mw:llm")
# The loop's own executor has four threads more than cores: that many requests would be sent at
# once, and all others of synchronous clients would wait for them.


async def off_loop(
    many: bool, function: Callable[P, T], *arguments: P.args, **options: P.kwargs
) -> T:
    """Return what *function* returns, called in a thread if there is *many* to do.

    *many* says that the size, which a provider decides, would hold the event loop.
    """
    if many:
        return await asyncio.to_thread(function, *arguments, **options)
    return function(*arguments, **options)


async def in_thread(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Return what *function* returns, which waits for the network, from a thread of its own."""
    context = contextvars.copy_context()
    call = partial(context.run, partial(function, *arguments, **options))
    return await asyncio.get_running_loop().run_in_executor(_senders, call)
