"""The processes that ask metered upstreams, from outside: started and asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from attrs import frozen

from tests.faults.redis.metered_node import NANO, VENDORS, WIDTH, truth_in
from tests.faults.redis.nodes import Node, Status, launch

PROGRAM = Path(__file__).with_name("metered_node.py")


@frozen
class Metered:
    """All processes.

    Attributes:
        every: The processes.
        truth: What they did, by number of the process.
        budget: The money that they may spend, in billionths of a US dollar.
        limit: The requests that each vendor may receive.
    """

    every: list[Node]
    truth: memoryview
    budget: int
    limit: int

    async def ask(self, word: str) -> list[Status]:
        """Return the results of the command *word* in each process."""
        return await asyncio.gather(*(asyncio.to_thread(n.ask, word) for n in self.every))

    async def make(self, calls: int) -> list[Status]:
        """Let every process make *calls* more calls; return once they have begun."""
        found = await self.ask(f"more {calls}")
        deadline = time.monotonic() + 90
        while any(s["left"] for s in found):
            found = await self.ask("status")
            assert time.monotonic() < deadline, "they make no calls"
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        return found

    async def go_on(self) -> None:
        """Let every process make calls from now on."""
        await self.ask("more 1000000")

    async def until_granted(self, which: Sequence[int]) -> float:
        """Return after how many seconds each process is granted something of all *which* again."""
        began = time.time()
        while True:
            found = await self.ask("more 200")
            if all(s["granted"][n] > began for s in found for n in which):
                return time.time() - began
            assert time.time() < began + 60, f"it is refused: {found}"
            await asyncio.sleep(0.05)

    async def use_up(self) -> None:
        """Return once nothing is granted any more of what costs."""
        deadline = time.monotonic() + 120
        while True:
            before = [*self.truth]
            await asyncio.sleep(1.0)
            found = await self.ask("status")
            spent = all("used up" in why or " left" in why for s in found for why in s["why"])
            if spent and [*self.truth] == before:
                return
            assert time.monotonic() < deadline, "it is never used up"

    async def judge(self, there: Sequence[int], missed: Sequence[int]) -> None:
        """Check that nothing was exceeded by more than what was *missed*, of money by nothing.

        Args:
            there: The vendors, and the budget, that were counted on a node that has failed.
            missed: What its replica had missed of each.
        """
        found = await self.ask("status")
        assert [[]] * len(found) == [s["failed"] for s in found]
        assert [[]] * len(found) == [s["overspent"] for s in found]
        assert self.spent <= self.budget
        for vendor in range(VENDORS):
            over = dict(zip(there, missed, strict=True)).get(vendor, 0)
            assert self.sent(vendor) <= self.limit + over

    def sent(self, vendor: int) -> int:
        """Return how many requests that vendor has received."""
        return sum(self.truth[vendor::WIDTH])

    @property
    def spent(self) -> int:
        """Billionths of a US dollar that requests have cost, or may cost that are under way."""
        return self.sent(VENDORS)


@contextlib.asynccontextmanager
async def metered(
    url: str, *, count: int, callers: int, usd: float, limit: int
) -> AsyncIterator[Metered]:
    """Start *count* processes with *callers* callers in all, a budget of *usd* and quotas a day."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        truth = Path(directory, "truth")
        truth.write_bytes(bytes(8 * WIDTH * count))
        started = []
        for number in range(count):
            settings = {
                "url": url,
                "truth": str(truth),
                "state": f"{directory}/{number}",
                "number": number,
                "callers": callers // count,
                "usd": usd,
                "limit": limit,
            }
            node = launch([sys.executable, str(PROGRAM), json.dumps(settings)])
            stack.callback(node.end)
            started.append(node)
        for node in started:
            assert await asyncio.to_thread(node.hear) == "ready"
        view = truth_in(truth)
        yield Metered(started, view, round(usd * NANO), limit)
