"""The engine on Dask distributed: a task for each request, pinned to its worker.

Tasks carry bytes and name one function, which the worker has; Dask pickles that name. Dask chooses
no worker: what a lost worker leaves unanswered is placed again by our own rule.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any, Final
from uuid import uuid4

from distributed import Client, Future

from argo_mw.plugin import Closed
from argo_mw_fleet.config import FleetConfig
from argo_mw_fleet.dask_worker import RESOURCE, answer
from argo_mw_fleet.engine import WorkerNow
from argo_mw_fleet.errors import FleetError, FleetUnavailable, WorkerLost, cause_of
from argo_mw_fleet.reach import Reach, check_listens

_LOOK: Final = 0.5
"""Seconds between two checks that a slow worker is still there."""

_SPEAK_A_SECOND: Final = 100
"""In large fleets, Dask spaces heartbeats so that its scheduler gets about this many a second."""

_AWAY: Final = (OSError, TimeoutError, RuntimeError, ValueError)
"""What Dask's client raises when the scheduler is not there; `CommClosedError` is an OSError."""


class DaskEngine:
    """The workers of ours at one scheduler.

    Attributes:
        is_open: Whether it is used inside the block that it was opened for.
    """

    def __init__(self, client: Client, address: str, config: FleetConfig) -> None:
        self._client = client
        self._address = address
        self._silence = config.silence
        self.is_open = True
        self._known: Mapping[str, WorkerNow] = {}

    async def workers(self) -> Mapping[str, WorkerNow]:
        """Return the workers that are there now, less those that are silent or not ours."""
        self._check_connected()
        scheduler: Any = self._client.scheduler
        try:
            async with asyncio.timeout(self._silence):
                identity: dict[str, Any] = await scheduler.identity()
        except TimeoutError as error:
            raise self._away(f"it has not answered for {self._silence:g} s") from error
        except _AWAY as error:
            raise self._away(error) from error
        found = [
            _worker(address, about)
            for address, about in identity["workers"].items()
            if RESOURCE in about["resources"] and about["status"] == "running"
        ]
        self._known = {one.name: one for one in heard_of(found, self._silence)}
        return self._known

    def _check_connected(self) -> None:
        if not self.is_open:
            msg = "the fleet is closed; use it inside `async with open_fleet(…)`"
            raise Closed(msg)
        if self._client.status == "connecting":
            raise self._away("the connection was lost, and is tried again for connect_timeout")
        if self._client.status != "running":
            raise self._away("the connection was lost and given up; open the fleet again")

    async def run(self, worker: str, request: bytes) -> bytes:
        """Return what *worker* makes of *request*."""
        self._check_connected()
        known = self._known.get(worker)
        if known is None:
            msg = f"there is no worker {worker}"
            raise WorkerLost(msg)
        future = self._client.submit(
            answer,
            request,
            key=f"argo-mw-{uuid4().hex}",
            workers=[known.address],
            allow_other_workers=False,
            pure=False,
        )
        try:
            return await self._result(future, known)
        finally:
            future.release()

    async def _result(self, future: Future[Any], worker: WorkerNow) -> bytes:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._silence
        waiting: asyncio.Future[Any] = asyncio.ensure_future(future.result())
        try:
            while not (await asyncio.wait([waiting], timeout=_LOOK))[0]:
                here = (await self.workers()).get(worker.name)
                if here is None or here.address != worker.address:
                    msg = f"worker {worker.name} at {worker.address} has left"
                    raise WorkerLost(msg)
                if loop.time() > until:
                    msg = f"worker {worker.name} has not answered for {self._silence:g} s"
                    raise WorkerLost(msg)
        finally:
            waiting.cancel()
        return self._answer(waiting, worker)

    def _answer(self, waiting: asyncio.Future[Any], worker: WorkerNow) -> bytes:
        if waiting.cancelled() or isinstance(waiting.exception(), CancelledError):
            raise self._away("it gave up the request, or the connection was lost")
        error = waiting.exception()
        if isinstance(error, FleetError):
            raise error
        if error is not None:
            msg = f"worker {worker.name}: {type(error).__name__}: {error}"
            raise FleetError(msg) from error
        return bytes(waiting.result())

    def _away(self, why: str | BaseException) -> FleetUnavailable:
        if isinstance(why, BaseException):
            why = cause_of(why)
        return FleetUnavailable(f"the scheduler {self._address} cannot be reached: {why}")


@contextlib.asynccontextmanager
async def connected(reached: Reach, config: FleetConfig) -> AsyncIterator[DaskEngine]:
    """Connect to a scheduler.

    Args:
        reached: Which.
        config: How long connecting may take, and a worker's answer.

    Raises:
        FleetUnavailable: It cannot be reached, or refuses this program.
        ConfigError: It listens beyond this machine without certificates.
    """
    quiet()
    client = Client(
        reached.address,
        security=reached.security,
        asynchronous=True,
        set_as_default=False,
        timeout=config.connect_timeout,
        name="argo-mw",
    )
    try:
        try:
            await client
            scheduler: Any = client.scheduler
            check_listens((await scheduler.identity())["address"], reached)
        except _AWAY as error:
            msg = f"the scheduler {reached.address} cannot be reached: {cause_of(error)}"
            raise FleetUnavailable(msg) from error
        engine = DaskEngine(client, reached.address, config)
        try:
            yield engine
        finally:
            engine.is_open = False
    finally:
        await client.close()


def heard_of(workers: Sequence[WorkerNow], silence: float) -> Sequence[WorkerNow]:
    """Return those of *workers* that the scheduler has heard of lately, sorted by name.

    Dask keeps a worker that hangs listed for minutes. Its clock may differ from ours, so a worker
    counts as silent when another was heard of that much later.

    Args:
        workers: All that are connected.
        silence: Seconds after which a worker is silent. Dask lets large fleets speak more seldom.
    """
    latest = max((one.seen for one in workers), default=0.0)
    limit = silence + len(workers) / _SPEAK_A_SECOND
    return sorted((w for w in workers if latest - w.seen <= limit), key=lambda one: one.name)


def quiet() -> None:
    """Limit Dask's own log to warnings and errors."""
    for name in ("distributed", "distributed.core", "distributed.nanny"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("distributed.worker", "distributed.core"):
        logging.getLogger(name).addFilter(_without_stacks)


def _without_stacks(record: logging.LogRecord) -> bool:
    """Report a lost connection in one line, without the traceback of where Dask noticed it."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, OSError):
        record.msg, record.args = f"{record.getMessage()} {cause_of(error)}", ()
        record.exc_info = record.exc_text = None
    return True


def _worker(address: str, about: Mapping[str, Any]) -> WorkerNow:
    metrics = about.get("metrics") or {}
    return WorkerNow(
        str(about["name"]),
        address,
        str(about.get("host", "")),
        float(metrics.get("cpu", 0.0)),
        int(metrics.get("memory", 0)),
        float(about.get("last_seen", 0.0)),
    )
