"""``python -m argo_mw_fleet``: a local worker, which a program starts and ends with itself.

Standard input brings one line of JSON: where the scheduler is, the certificate of this fleet, and
how to log. Its end is the end of the program that started the worker, and so of the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from distributed.security import Security

from argo_mw.plugin import Argo, ArgoError, freeze_heap, set_up_log
from argo_mw_fleet.config import FleetConfig
from argo_mw_fleet.reach import Reach
from argo_mw_fleet.worker_process import run_worker


async def _work() -> None:
    async with _input() as lines:
        line = await lines.readline()
        if not line:
            return
        told: dict[str, Any] = json.loads(line)
        set_up_log(told["log"], level=told["level"])
        sys.path[:] = told["path"]  # so that its plugins are those of the program
        stop = asyncio.Event()
        security = Security(require_encryption=True, **told["security"])
        reached = Reach(told["address"], security, is_local=True)
        config = FleetConfig(connect_timeout=told["connect_timeout"], slots=told["slots"])
        # Their ports are for one program of a machine, which a local worker is not.
        argo = Argo(Argo.open(told["config"]).settings, serves=False)
        ending = asyncio.create_task(_at_the_end(lines, stop), name="argo-mw:fleet:parent")
        try:
            await run_worker(
                argo,
                lambda _: (reached, config),
                name=told["name"],
                stop=stop,
                ready=lambda _: freeze_heap(),
            )
        finally:
            ending.cancel()


async def _at_the_end(lines: asyncio.StreamReader, stop: asyncio.Event) -> None:
    while await lines.read(1024):
        pass
    stop.set()


@contextlib.asynccontextmanager
async def _input() -> AsyncIterator[asyncio.StreamReader]:
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    try:
        yield lines
    finally:
        transport.close()


def main() -> None:
    """Work until the end of standard input."""
    try:
        asyncio.run(_work())
    except ArgoError as error:
        sys.exit(f"argo-mw: local worker: {error}")


if __name__ == "__main__":
    main()
