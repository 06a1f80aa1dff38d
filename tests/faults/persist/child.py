"""A process that records answers and says on standard output which are acknowledged.

Usage: child.py load|finite|sigterm URL STATE_DIR COUNT
"""

from __future__ import annotations

import asyncio
import os
import sys

import structlog

from argo_mw import Argo
from argo_mw_persist import Answer, PersistPlugin, Receipt, RecordStore, store_of

RUN = os.urandom(8).hex()
"""With its number, which record a row is, whatever its identifier says."""


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


async def record(store: RecordStore, number: int) -> tuple[Answer, Receipt]:
    answer = Answer("load", RUN, f"S{number % 50}", None, "", number, b"")
    return answer, await store.record(answer.row())


async def acknowledged(answer: Answer, receipt: Receipt) -> None:
    await receipt
    say(answer.id.hex())


async def load(store: RecordStore) -> None:
    """Record without end."""
    number = 0
    while True:
        async with asyncio.TaskGroup() as group:
            for _ in range(500):
                number += 1
                group.create_task(acknowledged(*await record(store, number)))


async def finite(store: RecordStore, count: int) -> None:
    """Record so many, and end."""
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(acknowledged(*await record(store, number)))


async def sigterm(store: RecordStore, count: int) -> None:
    """Queue so many without writing any, say so, and wait for the end."""
    taken = [await record(store, number) for number in range(count)]
    assert store.writer.held == count
    async with asyncio.TaskGroup() as group:
        for answer, receipt in taken:
            group.create_task(acknowledged(answer, receipt))
        await asyncio.sleep(0)
        say("queued")


async def main(mode: str, url: str, state: str, count: int) -> None:
    # With linger this long nothing is written before the end makes it.
    writer = {"linger": 3600.0, "min_batch": 2 * count, "max_batch": 2 * count}
    persist = {"url": url, "writer": writer if mode == "sigterm" else {}}
    async with Argo.open(
        {"argo": {"state_dir": state, "strict": True}, "plugins": {"persist": persist}},
        plugins={"persist": PersistPlugin},
        installed=False,
    ) as argo:
        store = store_of(argo)
        if mode == "load":
            await load(store)
        elif mode == "finite":
            await finite(store, count)
        else:
            await sigterm(store, count)


if __name__ == "__main__":
    # Standard output is for what is acknowledged.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
