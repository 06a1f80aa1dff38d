"""The fleet from outside: its servers, its processes, and what can be seen of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import psutil
from attrs import define, field, frozen

from argo_mw_persist.testing import Postgres
from argo_mw_redis.testing import RealServer
from argo_mw_sandbox import SandboxConfig, SandboxProcess
from argo_mw_sandbox.latency import Latency
from tests.load.member import WITNESS

INSTANCES = 3
SYMBOLS = ("BTC-USD", "ETH-USD", *(f"SYN{number:03d}" for number in range(1, 199)))
NOW = datetime(2013, 2, 25, 15, 0, tzinfo=UTC)
"""Half an hour after New York opened on a Monday: the markets of all symbols are open."""

PACE = 2.0
"""Seconds between two questions of one process about one symbol, on average."""

LIFE = 10.0
"""Seconds that bars and signals live, whatever the market does: a constant load."""

PATIENCE = 60.0
_LATENCY = Latency(median=0.02, sigma=0.4, stall_share=0.01, stall=0.2)
_UNUSED = ("compare", "llm", "similarity")
_MEBIBYTE = 1 << 20


@define(eq=False)
class Instance:
    """One process of the fleet."""

    process: subprocess.Popen[str]

    def ask(self, word: str) -> dict[str, object]:
        """What the process tells after *word*."""
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.hear()

    def hear(self) -> dict[str, object]:
        """What the process tells next."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            msg = f"a process of the fleet has ended with {self.process.wait()}"
            raise RuntimeError(msg)
        told: dict[str, object] = json.loads(line)
        return told

    def end(self) -> dict[str, object]:
        """Close the application; what it told at last."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        told = self.hear()
        assert self.process.wait(PATIENCE) == 0
        return told

    @property
    def memory(self) -> float:
        """What it holds in memory, in MiB."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / _MEBIBYTE

    @property
    def files(self) -> int:
        """How many files and sockets it has open."""
        return int(psutil.Process(self.process.pid).num_fds())


@frozen
class Sight:
    """What can be seen of the fleet at one moment.

    Attributes:
        tasks: The tasks of each process, by name.
        files: The open files and sockets of each process.
        redis: Connections to Redis.
        postgres: Connections to PostgreSQL.
    """

    tasks: tuple[Counter[str], ...]
    files: tuple[int, ...]
    redis: int
    postgres: int


@define(eq=False)
class Fleet:
    """Processes that share a Redis, a PostgreSQL and a sandbox.

    Attributes:
        redis: Their Redis.
        database: The URL of their database.
        instances: The processes.
        memory: MiB of each process, each time it was looked at, and when.
    """

    redis: RealServer
    database: str
    instances: list[Instance] = field(factory=list)
    memory: list[tuple[float, tuple[float, ...]]] = field(factory=list)

    async def every(self, word: str) -> list[dict[str, object]]:
        """What each process tells after *word*."""
        return await asyncio.gather(*(asyncio.to_thread(i.ask, word) for i in self.instances))

    async def work(self, seconds: float, *, answers: int) -> None:
        """Let all work for *seconds*, and until each has given so many *answers*.

        Their memory is noted every second. A busy machine takes longer for the same work.
        """
        wanted = [int(str(one["answered"])) + answers for one in await self.every("work")]
        until = time.monotonic() + seconds
        async with asyncio.timeout(seconds + 10 * PATIENCE):
            while (now := time.monotonic()) < until or not await self._answered(wanted):
                self.memory.append((now, tuple(one.memory for one in self.instances)))
                await asyncio.sleep(1.0)

    async def at_rest(self) -> Sight:
        """Let all end what they are at; what is left then."""
        await self.every("rest")
        deadline = time.monotonic() + PATIENCE
        seen = await self._look()
        while True:
            await asyncio.sleep(0.5)  # real processes have no other sign that they are at rest
            before, seen = seen, await self._look()
            if seen == before:
                return seen
            assert time.monotonic() < deadline, f"they never come to rest: {before}, {seen}"

    async def end(self) -> list[dict[str, object]]:
        """Close all applications; what each told at last."""
        ending, self.instances = self.instances, []
        return await asyncio.gather(*(asyncio.to_thread(one.end) for one in ending))

    async def connections(self) -> tuple[int, int]:
        """The fleet's connections to Redis and to PostgreSQL."""
        clients = (await asyncio.to_thread(self.redis.command, "CLIENT", "LIST")).decode()
        own = sum("cmd=" in line and "cmd=client|list" not in line for line in clients.split("\n"))
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'argo-mw'"
        return own, int((await self.rows(query))[0][0])  # type: ignore[call-overload]

    async def marks(self) -> Counter[str]:
        """How often each signal is found in PostgreSQL, by the witness's mark."""
        found: Counter[str] = Counter()
        for (voices,) in await self.rows("SELECT voices FROM signals"):
            marks = [v["reason"] for v in json.loads(str(voices)) if v["name"] == WITNESS]
            found.update(marks)
        return found

    async def rows(self, query: str) -> list[tuple[object, ...]]:
        """What *query* finds in PostgreSQL."""
        connection = await asyncpg.connect(self.database)
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    async def _answered(self, wanted: list[int]) -> bool:
        told = await self.every("status")
        return all(int(str(o["answered"])) >= w for o, w in zip(told, wanted, strict=True))

    async def _look(self) -> Sight:
        told = await self.every("status")
        tasks = tuple(Counter(one["tasks"]) for one in told)  # type: ignore[call-overload]
        return Sight(tasks, tuple(one.files for one in self.instances), *await self.connections())


@contextlib.contextmanager
def fleet(directory: Path, redis: RealServer, server: Postgres) -> Iterator[Fleet]:
    """A fleet whose processes keep their state in *directory*; what still runs is killed."""
    sandbox = SandboxConfig(now=NOW, latency=dict.fromkeys(("alpaca", "massive"), _LATENCY))
    with contextlib.ExitStack() as stack:
        vendors = stack.enter_context(SandboxProcess(sandbox))
        made = Fleet(redis, server.database("load"))
        behind = time.time() - NOW.timestamp()
        for number in range(INSTANCES):
            state = directory / f"instance-{number}"
            settings = {
                "number": number,
                "symbols": SYMBOLS,
                "pace": PACE,
                "behind": behind,
                "state": str(state),
                "config": _config(vendors, made),
            }
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.load.member", json.dumps(settings)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            made.instances.append(Instance(process))
        for one in made.instances:
            assert one.process.stdout is not None
            assert one.process.stdout.readline() == "ready\n"
        yield made


def _config(vendors: SandboxProcess, made: Fleet) -> dict[str, object]:
    key = {"key": "load"}
    lives = {"ttl": LIFE}
    # A long timeout for a busy machine: only failures count here, not slowness.
    patient = {"store_timeout": PATIENCE}
    return {
        "argo": {
            "shared": f"{made.redis.url}?timeout={PATIENCE}",
            "block": _UNUSED,
            "strict": True,
        },
        "upstreams": {"alpaca": {"per_minute": 0}},
        "plugins": {
            "market": {
                "alpaca": {"url": vendors.url("alpaca"), "secret": "load", **key},
                "massive": {"url": vendors.url("massive"), **key},
            },
            "cache": patient,
            "coalesce": patient,
            "persist": {"url": made.database},
            "adaptive_ttl": {
                "operations": {"bars": lives, "signal": lives},
                "calendars": {"SYN*": "XNYS"},
            },
            "metrics": {"port": 0},
        },
    }
