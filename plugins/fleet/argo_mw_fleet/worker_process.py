"""The process of a worker: an application that works until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

from argo_mw.plugin import Argo
from argo_mw_fleet.config import FleetConfig
from argo_mw_fleet.errors import FleetUnavailable
from argo_mw_fleet.reach import Reach


async def run_worker(
    argo: Argo,
    find: Callable[[Argo], tuple[Reach, FleetConfig]],
    *,
    name: str,
    stop: asyncio.Event | None = None,
    ready: Callable[[str], object] = lambda _: None,
) -> None:
    """Be a worker until SIGTERM or SIGINT, or *stop* is set.

    Args:
        argo: The worker's application, which is opened and closed here.
        find: Returns how the scheduler is reached, and how it is worked for.
        name: The worker's name.
        stop: Ends it.
        ready: Called with the worker's address, once it works.

    Raises:
        FleetUnavailable: The scheduler cannot be reached, refuses it, or has gone.
        ConfigError: The configuration cannot be used.
    """
    stop = stop or asyncio.Event()
    async with argo:
        reached, config = find(argo)
        from argo_mw_fleet.dask_engine import quiet
        from argo_mw_fleet.dask_worker import make_worker, serve

        quiet()
        worker = make_worker(argo, reached, config, name=name)
        with _signals(stop):
            await serve(worker, reached, stop, ready)
    if not stop.is_set():
        msg = f"the scheduler {reached.address} has gone, or let this worker go"
        raise FleetUnavailable(msg)


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """Set *stop* at SIGTERM and SIGINT, where the loop takes signals."""
    loop = asyncio.get_running_loop()
    taken = []
    for number in (signal.SIGTERM, signal.SIGINT):
        # No loop takes them beside the main thread, and not every loop of Windows does.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop.set)
            taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)
