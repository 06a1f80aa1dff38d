"""The processes from outside: started, asked, and judged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from attrs import define, frozen

from tests.faults.redis.node import KEYS

NODES = 3
CALLERS = 200
PROGRAM = Path(__file__).with_name("node.py")
# Small and short, so that every call has its share of the store.
SMALL: Mapping[str, object] = {
    "cache": {"max_entries": 10, "ttl": 2.0, "early": 0.0},
    "coalesce": {"lease_ttl": 0.5},
}

Status = dict[str, object]


@define(eq=False)
class Node:
    """One process."""

    process: subprocess.Popen[str]

    def ask(self, word: str) -> Status:
        """Return the result of the command *word* in the process."""
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return json.loads(self.hear())

    def hear(self) -> str:
        """Return the next line of the process."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            msg = "a process has ended"
            raise RuntimeError(msg)
        return line.strip()

    def end(self) -> None:
        """Kill it, if it still runs."""
        self.process.kill()
        self.process.communicate()


def launch(command: list[str]) -> Node:
    """Start a process that is asked line by line."""
    return Node(
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    )


@frozen
class Nodes:
    """All processes."""

    every: list[Node]

    async def ask(self, word: str) -> list[Status]:
        """Return the results of the command *word* in each process."""
        return await asyncio.gather(*(asyncio.to_thread(n.ask, word) for n in self.every))

    async def until(
        self, condition: Callable[[Status], bool], timeout: float = 60.0
    ) -> list[Status]:
        """Return once *condition* holds for every process."""
        deadline = time.monotonic() + timeout
        while not all(map(condition, found := await self.ask("status"))):
            assert time.monotonic() < deadline, f"it did not happen in time: {found}"
        return found

    async def work(self, calls: int) -> None:
        """Return once every process has made *calls* more calls."""
        wanted = [int(str(s["calls"])) + calls for s in await self.ask("status")]
        deadline = time.monotonic() + 60
        while any(
            int(str(s["calls"])) < w for s, w in zip(await self.ask("status"), wanted, strict=True)
        ):
            assert time.monotonic() < deadline, "they make no calls"

    async def settle(self) -> None:
        """Return once the store is there for all, and knows all that was invalidated."""
        await self.until(lambda s: s["settled"] is True)

    async def agree(self) -> None:
        """End all changes; return once every process must serve what is true now, of each key."""
        await self.ask("rest")
        await self.settle()

        async def agreed() -> bool:
            await self.ask("announce")
            first, *others = [s["least"] for s in await self.ask("status")]
            return all(first == other for other in others)

        deadline = time.monotonic() + 60
        while not await agreed():
            assert time.monotonic() < deadline, "they never agreed"

    async def judge(self) -> list[Status]:
        """Check that no process has seen a call fail, or a wrong or stale answer."""
        found = await self.ask("status")
        seen = [{name: s[name] for name in ("wrong", "stale", "failed")} for s in found]
        assert [{"wrong": [], "stale": [], "failed": []}] * len(found) == seen, f"{seen}"
        return found


@contextlib.asynccontextmanager
async def nodes(
    url: str,
    *,
    count: int = NODES,
    callers: int = CALLERS,
    pause: float = 0.1,
    plugins: Mapping[str, object] = SMALL,
) -> AsyncIterator[Nodes]:
    """Start *count* processes with *callers* callers in all, each pausing up to *pause* seconds."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        truth = Path(directory, "truth")
        truth.write_bytes((1).to_bytes(8, sys.byteorder) * KEYS + bytes(8 * KEYS))
        started = []
        for number in range(count):
            settings = {
                "url": url,
                "truth": str(truth),
                "state": f"{directory}/{number}",
                "number": number,
                "of": count,
                "callers": callers // count,
                "pause": pause,
                "plugins": dict(plugins),
            }
            node = launch([sys.executable, str(PROGRAM), json.dumps(settings)])
            stack.callback(node.end)
            started.append(node)
        for node in started:
            assert await asyncio.to_thread(node.hear) == "ready"
        yield Nodes(started)
