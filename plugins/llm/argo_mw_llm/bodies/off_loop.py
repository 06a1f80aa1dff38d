"""Runs in threads what would block the event loop."""

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
"""The size of a body that takes a few milliseconds to become an SDK's objects."""

_MAX_THREADS: Final = 10_000
"""More threads than a process has callers of synchronous clients, each of which has a thread."""

_senders = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="argo-mw:llm")
# The loop's own executor has four threads more than there are cores, which would limit synchronous
# clients to that many requests at once.


async def off_loop(
    many: bool, function: Callable[P, T], *arguments: P.args, **options: P.kwargs
) -> T:
    """Return what *function* returns, called in a thread if there is *many* to do.

    *many* tells that the provider sent so much that it would block the event loop.
    """
    if many:
        return await asyncio.to_thread(function, *arguments, **options)
    return function(*arguments, **options)


async def in_thread(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Return what *function* returns, called in a thread since it waits for the network."""
    context = contextvars.copy_context()
    call = partial(context.run, partial(function, *arguments, **options))
    return await asyncio.get_running_loop().run_in_executor(_senders, call)
