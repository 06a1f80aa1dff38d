"""One of several processes: an application with coalesce, cache and redis, under load and watched.

Usage: node.py SETTINGS, a JSON object: see ``nodes.start``. Each line of standard input is a command;
its result is printed as one line of JSON.

The upstream answers with versions. They lie in a file that all processes see, so that every caller
can check its answer against the truth of now, and against the least version that it may be given:
that of the last invalidation which this process must know of. An invalidation is known to the
process that made it when it is made; to another when it hears, on the same channel of the store,
that the store has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import mmap
import os
import random
import sys
import time
from pathlib import Path

import structlog

import argo_mw_cache
import argo_mw_coalesce.plugin
import argo_mw_redis.plugin
from argo_mw import Argo, SharedUnavailable
from argo_mw.plugin import context_of

KEYS = 40
CHANNEL = "oracle"
PLUGINS = {
    "cache": argo_mw_cache.CachePlugin,
    "coalesce": argo_mw_coalesce.plugin,
    "redis": argo_mw_redis.plugin,
}


def truth_in(path: Path) -> memoryview:
    """The version of each key, as every process sees it."""
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("q")


class Node:
    """The callers of one process, the answers that they saw, and the versions that they know."""

    def __init__(self, argo: Argo, settings: dict[str, object]) -> None:
        self.argo = argo
        self.truth = truth_in(Path(str(settings["truth"])))
        self.number, self.of = int(str(settings["number"])), int(str(settings["of"]))
        self.callers, self.pause = int(str(settings["callers"])), float(str(settings["pause"]))
        self.least = [0] * KEYS
        self.announced: dict[str, int] = {}
        self.stopped = False
        self.changing = True
        self.calls = self.loads = self.changes = 0
        self.wrong: list[object] = []
        self.failed: list[str] = []
        self.waits: list[float] = []
        self.waits_away: list[float] = []
        self.quote = argo.wrap(name="quote", subject="symbol")(self.load)

    async def load(self, symbol: str) -> dict[str, object]:
        """The upstream."""
        self.loads += 1
        version = self.truth[int(symbol)]
        await asyncio.sleep(0)  # so that a change can come in between
        return {"symbol": symbol, "version": version}

    async def caller(self, number: int) -> None:
        rng = random.Random(number * self.of + self.number)
        while not self.stopped:
            await self.ask(rng.randrange(KEYS))
            await asyncio.sleep(self.pause * rng.random())

    async def ask(self, key: int) -> None:
        least = self.least[key]
        away = self.away
        started = time.perf_counter()
        try:
            outcome = await self.argo.outcome("quote", symbol=str(key))
        except Exception as error:
            self.failed.append(repr(error))
            return
        (self.waits_away if away else self.waits).append(time.perf_counter() - started)
        self.calls += 1
        answer = outcome.value
        if answer["symbol"] != str(key) or not least <= answer["version"] <= self.truth[key]:
            how = [outcome.via, [note.text for note in outcome.notes]]
            self.wrong.append([key, answer, least, self.truth[key], how])

    async def change_some(self) -> None:
        """Change the upstream's answers, and invalidate them: each process has keys of its own."""
        rng = random.Random(self.number)
        while not self.stopped:
            await asyncio.sleep(self.pause * rng.random())
            if self.changing:
                await self.change(rng.randrange(self.number, KEYS, self.of))

    async def change(self, key: int) -> None:
        self.truth[key] += 1
        version = self.truth[key]
        await self.argo.invalidate(f"subject:{key}")
        self.changes += 1
        self.announced[str(key)] = self.least[key] = version
        await self.announce()

    async def announce(self) -> None:
        """Let the other processes know which changes the store knows of."""
        if not context_of(self.argo).tag_versions.pending:
            with contextlib.suppress(SharedUnavailable):  # announced with the next change
                await context_of(self.argo).shared.publish(
                    CHANNEL, json.dumps(self.announced).encode()
                )

    def hear(self, message: bytes) -> None:
        for key, version in json.loads(message).items():
            self.least[int(key)] = max(self.least[int(key)], version)

    @property
    def away(self) -> bool:
        return context_of(self.argo).shared.unreachable is not None  # type: ignore[attr-defined]

    async def run(self) -> None:
        await context_of(self.argo).shared.subscribe(CHANNEL, self.hear, lambda: None)
        for key in range(KEYS):  # the tag versions of each key are known before anything fails
            await self.quote(str(key))
        tasks = [asyncio.create_task(self.caller(n)) for n in range(self.callers)]
        tasks.append(asyncio.create_task(self.change_some()))
        print("ready", flush=True)
        try:
            while word := (await asyncio.to_thread(sys.stdin.readline)).strip():
                print(json.dumps(await getattr(self, f"do_{word}")()), flush=True)
        finally:
            self.stopped = True
            await asyncio.gather(*tasks)

    # -- commands ------------------------------------------------------------------------------

    async def do_status(self) -> dict[str, object]:
        tag_versions = context_of(self.argo).tag_versions
        return {
            "calls": self.calls,
            "loads": self.loads,
            "changes": self.changes,
            "wrong": self.wrong[:5],
            "failed": self.failed[:5],
            "failures": len(self.failed),
            "away": self.away,
            "settled": tag_versions.connected and not tag_versions.pending and not self.away,
            "least": self.least,
        }

    async def do_waits(self) -> dict[str, list[float]]:
        """Return the seconds that calls took since the last time, with the store and without."""
        waits, self.waits = self.waits, []
        away, self.waits_away = self.waits_away, []
        return {"there": waits, "away": away}

    async def do_rest(self) -> None:
        """Make no more changes."""
        self.changing = False

    async def do_announce(self) -> None:
        await self.announce()


async def main(settings: dict[str, object]) -> None:
    """Run until standard input ends."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    os.environ["ARGO_MW_STATE_DIR"] = str(settings["state"])
    argo = Argo.open(
        {"argo": {"shared": settings["url"], "strict": True}, "plugins": settings["plugins"]},
        plugins=PLUGINS,
        installed=False,
    )
    async with argo:
        await Node(argo, settings).run()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
