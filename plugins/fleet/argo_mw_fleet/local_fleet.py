"""``local:N``: a scheduler in this process and N workers in processes of their own, for a while.

They speak TLS with a certificate that only they have: other users of the machine reach loopback
too. Workers are started anew, and not forked: a program needs no ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from typing import Final

import dask
from distributed import Scheduler
from distributed.security import Security

from argo_mw.plugin import log_form
from argo_mw_fleet.config import FleetConfig
from argo_mw_fleet.dask_engine import DaskEngine, connected, quiet
from argo_mw_fleet.errors import FleetUnavailable, cause_of
from argo_mw_fleet.reach import LOOPBACK, Reach

_LOOK: Final = 0.05
_END: Final = 10.0
"""Seconds that a worker has to flush and close."""

_SETTINGS: Final = {
    "distributed.scheduler.http.routes": [],  # pages without a login
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
}
_PARTS: Final = ("tls_ca_file", "tls_worker_cert", "tls_worker_key")


@contextlib.asynccontextmanager
async def local_fleet(
    count: int, config: FleetConfig, file: str | None
) -> AsyncIterator[DaskEngine]:
    """Start *count* workers on this machine, and end them afterwards.

    Args:
        count: How many.
        config: How long starting may take, and what a worker does at once.
        file: The configuration file of the workers' applications, if there is one.

    Raises:
        FleetUnavailable: They did not start.
    """
    quiet()
    security = Security.temporary()
    async with contextlib.AsyncExitStack() as stack:
        scheduler = await stack.enter_async_context(_a_scheduler(security))
        reached = Reach(scheduler.address, security, is_local=True)
        processes: list[Process] = []
        stack.push_async_callback(_end, processes)
        for number in range(count):
            process = await _start(f"local-{number}", reached, config, file)
            processes.append(process)
        engine = await stack.enter_async_context(connected(reached, config))
        await _all_there(engine, processes, config.connect_timeout)
        yield engine


@contextlib.asynccontextmanager
async def _a_scheduler(security: Security) -> AsyncIterator[Scheduler]:
    try:
        with dask.config.set(_SETTINGS):
            scheduler = await Scheduler(
                host=LOOPBACK,
                port=0,
                protocol="tls://",
                security=security,
                dashboard=False,
                dashboard_address=f"{LOOPBACK}:0",
            )
    except (OSError, RuntimeError) as error:
        msg = f"a scheduler could not be started on this machine: {cause_of(error)}"
        raise FleetUnavailable(msg) from error
    try:
        yield scheduler
    finally:
        await scheduler.close()


async def _start(name: str, reached: Reach, config: FleetConfig, file: str | None) -> Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "argo_mw_fleet", stdin=PIPE, start_new_session=True
    )
    told = {
        "address": reached.address,
        "security": {part: getattr(reached.security, part) for part in _PARTS},
        "path": sys.path,  # and not the folder that the program happens to run in
        "config": file,
        "name": name,
        "connect_timeout": config.connect_timeout,
        "slots": config.slots,
        "log": log_form() or "text",
        "level": logging.getLogger("argo_mw").getEffectiveLevel(),
    }
    assert process.stdin is not None
    process.stdin.write(json.dumps(told).encode() + b"\n")
    with contextlib.suppress(ConnectionError):  # it ended at once: seen by who waits for it
        await process.stdin.drain()
    return process


async def _all_there(engine: DaskEngine, processes: Sequence[Process], limit: float) -> None:
    until = asyncio.get_running_loop().time() + limit
    while len(await engine.workers()) < len(processes):
        if any(process.returncode is not None for process in processes):
            msg = "a local worker ended while it started; what it wrote above says why"
            raise FleetUnavailable(msg)
        if asyncio.get_running_loop().time() > until:
            msg = (
                f"{len(processes)} local workers did not start in {limit:g} s; start fewer, or "
                "raise connect_timeout in [plugins.fleet]"
            )
            raise FleetUnavailable(msg)
        await asyncio.sleep(_LOOK)


async def _end(processes: Sequence[Process]) -> None:
    """Let *processes* end by themselves, and kill those that do not."""
    for process in processes:
        if process.stdin is not None:
            process.stdin.close()
    waiting = [asyncio.create_task(process.wait()) for process in processes]
    try:
        if waiting:
            await asyncio.wait(waiting, timeout=_END)
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
        await asyncio.gather(*waiting)
