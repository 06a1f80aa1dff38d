"""The process of a worker: an application that works until it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from argo_mw.cli import ending_signals
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
    """Be a worker until SIGTERM, SIGINT or SIGHUP, or *stop* is set.

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
        with ending_signals(stop.set):
            await serve(worker, reached, stop, ready)
    if not stop.is_set():
        msg = f"the scheduler {reached.address} has gone, or let this worker go"
        raise FleetUnavailable(msg)
