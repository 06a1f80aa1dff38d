"""One of several processes that ask metered upstreams, with quotas and a budget in a shared store.

Usage: metered_node.py SETTINGS, a JSON object: see ``metered_nodes.metered``. Each line of standard
input is a command, a word and a number; its result is printed as one line of JSON.

What upstreams were asked, and what requests under way may cost beside what others did cost, lies in
a file that all processes see: the truth, which the store may lose and these counts do not.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import mmap
import os
import random
import sys
import time
from pathlib import Path

import structlog

import argo_mw_redis.plugin
from argo_mw import Argo, Refusal
from argo_mw.plugin import (
    Call,
    Context,
    Cost,
    Guard,
    Limits,
    Operation,
    Outcome,
    Upstream,
)
from argo_mw.testing import FakePlugin
from argo_mw_llm.answers import Completion, Usage
from argo_mw_llm.budgets.guard import BudgetGuard
from argo_mw_llm.config import Budget, LlmConfig
from argo_mw_llm.costs.accounting import Accounting
from argo_mw_llm.operations import operations

VENDORS = 12
PROVIDER = "glm"
NANO = 1_000_000_000
WIDTH = VENDORS + 1
"""Numbers that each process has in the file: requests to each vendor, and money in billionths."""


def truth_in(path: Path) -> memoryview:
    """What all processes did, each in numbers of its own."""
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("q")


class Watched:
    """A budget's guard that writes down what it holds."""

    def __init__(self, guard: BudgetGuard, node: Node) -> None:
        self.name = guard.name
        self._guard = guard
        self._node = node

    async def reserve(self, request) -> None:
        await self._guard.reserve(request)
        (one,) = self._guard._reserved[request]
        self._node.hold(request, one.held[0].nanos)

    def settle(self, request, result):
        (one,) = self._guard._reserved[request]
        cost = result[0].cost.usd if isinstance(result[0], Outcome) else None
        held = one.held[0].nanos
        self._node.settle(request, held if cost is None else round(cost * NANO))
        return self._guard.settle(request, result)

    async def release(self, request) -> None:
        self._node.settle(request, 0)
        await self._guard.release(request)

    async def charge_extra(self, request) -> None:
        msg = "an answer here takes one request"
        raise AssertionError(msg)

    async def dry_run(self, request) -> str:
        return await self._guard.dry_run(request)


class Node:
    """The callers of one process, and what was granted and refused to them."""

    def __init__(self, settings: dict[str, object]) -> None:
        self.settings = settings
        self.truth = truth_in(Path(str(settings["truth"])))
        self.mine = int(str(settings["number"])) * WIDTH
        self.budget = round(float(str(settings["usd"])) * NANO)
        self.limit = int(str(settings["limit"]))
        self.held: dict[object, int] = {}
        self.allowed = self.made = 0
        self.stopped = False
        self.granted = [0.0] * WIDTH
        self.refused = [0.0] * WIDTH
        self.why: list[str] = [""] * WIDTH
        self.failed: list[str] = []
        self.overspent: list[float] = []
        self.overshoot = 0

    # -- what upstreams and budgets see ------------------------------------------------------

    def total(self, which: int) -> int:
        """Return the sum of all processes, as it was at one moment within this call."""
        return min(sum(self.truth[which::WIDTH]) for _ in range(5))

    async def answer(self, call: Call) -> Outcome:
        number = int(call.subject)
        self.truth[self.mine + number] += 1
        self.overshoot = max(self.overshoot, self.total(number) - self.limit)
        await asyncio.sleep(0.005)
        return Outcome("ok")

    async def complete(self, call: Call) -> Outcome:
        await asyncio.sleep(0.01)
        answer = Completion("ok", "glm-5.3", "end", Usage())
        return Outcome(answer, cost=Cost(0.00002 + 0.0001 * random.random()))

    def hold(self, request: object, nanos: int) -> None:
        self.held[request] = nanos
        self.truth[self.mine + VENDORS] += nanos
        if (total := self.total(VENDORS)) > self.budget:
            self.overspent.append(total / NANO)

    def settle(self, request: object, nanos: int) -> None:
        self.truth[self.mine + VENDORS] += nanos - self.held.pop(request)

    # -- callers -----------------------------------------------------------------------------

    async def caller(self, argo: Argo, number: int) -> None:
        rng = random.Random(number * 100 + self.mine)
        while not self.stopped:
            if self.made < self.allowed:
                self.made += 1
                await self.ask(argo, rng.randrange(WIDTH), rng.random())
            await asyncio.sleep(0.05 * rng.random())

    async def ask(self, argo: Argo, which: int, salt: float) -> None:
        try:
            if which == VENDORS:
                await argo.call("complete", messages=f"Why? {salt}", max_tokens=100)
            else:
                await argo.call(f"ask{which}", symbol=str(which), salt=salt)
        except Refusal as refusal:
            self.refused[which] = time.time()
            self.why[which] = str(refusal)
        except Exception as error:
            self.failed.append(repr(error))
        else:
            self.granted[which] = time.time()

    async def run(self) -> None:
        config = LlmConfig(budgets=[Budget(usd=self.budget / NANO, per="day")])
        limits = Limits(per_day=self.limit)
        vendors = [
            Upstream(f"vendor{n}", [f"ask{n}"], self.answer, metered=True, limits=limits)
            for n in range(VENDORS)
        ]
        provider = Upstream(
            PROVIDER, ["complete"], self.complete, metered=True, limits=Limits(per_day=10**9)
        )
        signature = inspect.signature(lambda symbol, salt: None)
        asked = [Operation(f"ask{n}", signature, subject="symbol") for n in range(VENDORS)]
        complete = next(one for one in operations(config) if one.name == "complete")

        def guards(upstream: Upstream) -> list[Guard]:
            if upstream.name != PROVIDER:
                return []
            context: Context = plugin.context
            accounting = Accounting(config, context)
            return [Watched(BudgetGuard(PROVIDER, "glm-5.3", accounting, context, _no_count), self)]

        plugin = FakePlugin(
            operations=[*asked, complete],
            upstreams=[*vendors, provider],
            data_types=["ai_reasoning"],
            guards=guards,
        )
        argo = Argo.open(
            {"argo": {"shared": self.settings["url"], "strict": True}},
            plugins={"metered": plugin, "redis": argo_mw_redis.plugin},
            installed=False,
        )
        async with argo:
            await self.serve(argo)

    async def serve(self, argo: Argo) -> None:
        tasks = [
            asyncio.create_task(self.caller(argo, n))
            for n in range(int(str(self.settings["callers"])))
        ]
        print("ready", flush=True)
        try:
            while line := (await asyncio.to_thread(sys.stdin.readline)).split():
                word, number = line[0], int(line[1]) if line[1:] else 0
                if word == "more":
                    self.allowed = self.made + number
                print(json.dumps(self.status()), flush=True)
        finally:
            self.stopped = True
            await asyncio.gather(*tasks)

    def status(self) -> dict[str, object]:
        return {
            "made": self.made,
            "left": self.allowed - self.made,
            "granted": self.granted,
            "refused": self.refused,
            "why": self.why,
            "failed": self.failed[:5],
            "overspent": self.overspent[:5],
            "overshoot": self.overshoot,
        }


async def _no_count(*_: object) -> None:
    return None


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    given = json.loads(sys.argv[1])
    os.environ["ARGO_MW_STATE_DIR"] = given["state"]
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Node(given).run())
