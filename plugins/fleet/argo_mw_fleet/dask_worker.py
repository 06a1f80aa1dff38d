"""A worker of the fleet: Dask's worker, with an application that answers.

Both live on one event loop, so that what the application keeps (caches, flights, what it has
learned) stays with the worker as long as it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import dask
from distributed import Worker, get_worker

from argo_mw.plugin import Argo
from argo_mw_fleet.answering import Answering
from argo_mw_fleet.config import FleetConfig
from argo_mw_fleet.errors import FleetError, FleetUnavailable, cause_of
from argo_mw_fleet.reach import LOOPBACK, Reach, check_listens

RESOURCE: Final = "argo-mw"
"""The resource that workers of ours declare: others at the same scheduler are left alone."""

_SETTINGS: Final = {
    "distributed.worker.http.routes": [],  # pages without a login
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.disk": False,
}


class FleetWorker(Worker):
    """A worker of Dask that answers rounds."""

    answering: Answering


async def answer(request: bytes) -> bytes:
    """Return what this worker answers to *request*.

    Raises:
        FleetError: The request cannot be read, or this is not a worker of ours.
    """
    worker: object = get_worker()
    if not isinstance(worker, FleetWorker):
        msg = "this worker was not started by `argo-mw fleet worker`"
        raise FleetError(msg)
    return await worker.answering.answer(request)


def make_worker(argo: Argo, reached: Reach, config: FleetConfig, *, name: str) -> FleetWorker:
    """Return a worker of *argo*, to be given to :func:`serve`.

    Args:
        argo: Its application, open for as long as the worker is.
        reached: Where the scheduler is.
        config: How long reaching it may take, and how many requests are answered at once.
        name: The worker's name, by which subjects are placed; its subjects are the same again
            after a restart under this name.
    """
    options: dict[str, Any] = {"host": LOOPBACK} if reached.is_local else {}
    with dask.config.set(_SETTINGS):
        worker = FleetWorker(
            reached.address,
            security=reached.security,
            name=name,
            nthreads=config.slots,
            resources={RESOURCE: 1},
            memory_limit=0,
            death_timeout=config.connect_timeout,
            dashboard=False,
            dashboard_address=f"{LOOPBACK}:0",
            **options,
        )
    worker.answering = Answering(argo)
    return worker


async def serve(
    worker: Worker, reached: Reach, stop: asyncio.Event, ready: Callable[[str], object]
) -> None:
    """Work until *stop* is set, or the scheduler is gone; call *ready* once it works.

    Args:
        worker: The worker.
        reached: How it reaches its scheduler.
        stop: Ends it, also while it looks for the scheduler: Dask looks for as long as it may.
        ready: Receives its address.

    Raises:
        FleetUnavailable: The scheduler cannot be reached, or refuses the worker.
        ConfigError: It listens beyond this machine without certificates.
    """
    stopping = asyncio.create_task(stop.wait(), name="argo-mw:fleet:stop")
    working = asyncio.create_task(_work(worker, reached, ready), name="argo-mw:fleet:work")
    try:
        await asyncio.wait([stopping, working], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.wait([working])
        await worker.close()
    if not working.cancelled():
        working.result()


async def _work(worker: Worker, reached: Reach, ready: Callable[[str], object]) -> None:
    try:
        with dask.config.set(_SETTINGS):
            await worker
        check_listens((await worker.scheduler.identity())["address"], reached)
    except (OSError, TimeoutError, RuntimeError, ValueError) as error:
        where = reached.address
        if isinstance(error, TimeoutError):
            msg = (
                f"the scheduler {where} was not reached in {worker.death_timeout:g} s; "
                "`argo-mw fleet status` says what is wrong"
            )
        else:
            msg = f"the scheduler {where} cannot be reached, or refuses the worker: "
            msg += _reason(error, worker)
        raise FleetUnavailable(msg) from error
    ready(worker.address)
    await worker.finished()


def _reason(error: BaseException, worker: Worker) -> str:
    reason = cause_of(error)
    if "name taken" in reason:
        return (
            f"it has a worker {worker.name} already; give each --name once, and let what was "
            "started under it end"
        )
    return reason
