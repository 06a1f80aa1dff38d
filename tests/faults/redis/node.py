"""One of several processes: an application with coalesce, cache and redis, under load and watched.

Usage: node.py SETTINGS, a JSON object: see ``nodes.start``. Each line of standard input is a command;
its result is printed as one line of JSON.

The upstream answers with versions. They lie in a file that all processes see, so that every caller
can check its answer against the truth of now, and against the least version that it may be given:
that of the last invalidation which this process must know of. An invalidation is known to the
process that made it when it is made; to another when it hears, on a channel of the same store, that
``invalidate`` has returned true or that nothing is pending any more. A process that reads the store
and receives no messages from it must know at once what ``invalidate`` has returned true for: that
lies in the file too.
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
from argo_mw.plugin import Trouble, context_of, observe
from argo_mw.store import Ability
from argo_mw.testing import FakePlugin

KEYS = 40
CHANNEL = "oracle"
PLUGINS = {
    "cache": argo_mw_cache.CachePlugin,
    "coalesce": argo_mw_coalesce.plugin,
    "redis": argo_mw_redis.plugin,
    "unreachable": FakePlugin(),
}


def truth_in(path: Path) -> tuple[memoryview, memoryview]:
    """The version of each key, and the one that all processes can know, as every process sees it."""
    with path.open("r+b") as file:
        versions = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")
    return versions[:KEYS], versions[KEYS:]


class Node:
    """The callers of one process, the answers that they saw, and the versions that they know."""

    def __init__(self, argo: Argo, settings: dict[str, object]) -> None:
        self.argo = argo
        self.truth, self.believed = truth_in(Path(str(settings["truth"])))
        self.number, self.of = int(str(settings["number"])), int(str(settings["of"]))
        self.callers, self.pause = int(str(settings["callers"])), float(str(settings["pause"]))
        self.health = context_of(argo).tag_versions.health
        self.least = [0] * KEYS
        self.announced: dict[str, int] = {}
        self.waiting: dict[str, int] = {}
        self.stopped = False
        self.changing = True
        self.calls = self.loads = self.changes = self.shared_changes = 0
        self.wrong: list[object] = []
        self.stale: list[object] = []
        self.troubles: list[str] = []
        self.failed: list[str] = []
        self.waits: list[float] = []
        self.waits_away: list[float] = []
        self.quote = argo.wrap(name="quote", subject="symbol")(self.load)
        observe(argo, self.see)

    def see(self, event: object) -> None:
        if isinstance(event, Trouble):
            self.troubles.append(f"{event.where}: {event.what}")

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
        least, believed = self.least[key], self.believed[key]
        away, reads = self.away, self.reads_each_time
        started = time.perf_counter()
        try:
            outcome = await self.argo.outcome("quote", symbol=str(key))
        except Exception as error:
            self.failed.append(repr(error))
            return
        (self.waits_away if away else self.waits).append(time.perf_counter() - started)
        self.calls += 1
        answer = outcome.value
        if reads and self.reads_each_time:
            least = max(least, believed)
        how = [outcome.via, [note.text for note in outcome.notes]]
        judged = [key, answer, least, self.truth[key], how]
        if answer["symbol"] != str(key) or answer["version"] > self.truth[key]:
            self.wrong.append(judged)
        elif answer["version"] < least:
            self.stale.append(judged)

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
        others_hear = await self.argo.invalidate(f"subject:{key}")
        self.changes += 1
        self.waiting[str(key)] = self.least[key] = version
        if others_hear:
            self.shared_changes += 1
            self.announced[str(key)] = self.believed[key] = self.waiting.pop(str(key))
        await self.announce()

    async def announce(self) -> None:
        """Let the other processes know which changes the store knows of."""
        tag_versions = context_of(self.argo).tag_versions
        if not tag_versions.pending and not tag_versions.unannounced:
            self.announced |= self.waiting
            self.waiting.clear()
        if self.announced:
            with contextlib.suppress(SharedUnavailable):  # announced with the next change
                await context_of(self.argo).shared.publish(
                    CHANNEL, json.dumps(self.announced).encode()
                )

    def hear(self, message: bytes) -> None:
        for key, version in json.loads(message).items():
            self.least[int(key)] = max(self.least[int(key)], version)

    @property
    def away(self) -> bool:
        return getattr(context_of(self.argo).shared, "unreachable", None) is not None

    @property
    def reads_each_time(self) -> bool:
        return self.health.allows(Ability.READ) and not self.health.allows(Ability.HEAR)

    @property
    def settled(self) -> bool:
        tag_versions = context_of(self.argo).tag_versions
        waiting = tag_versions.pending or tag_versions.unannounced
        return tag_versions.connected and not waiting and not self.away

    async def run(self) -> None:
        with contextlib.suppress(SharedUnavailable):  # in a run without a store
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
        return {
            "calls": self.calls,
            "loads": self.loads,
            "changes": self.changes,
            "shared_changes": self.shared_changes,
            "wrong": self.wrong[:5],
            "wrongs": len(self.wrong),
            "stale": self.stale[:5],
            "stales": len(self.stale),
            "failed": self.failed[:5],
            "failures": len(self.failed),
            "troubles": self.troubles,
            "refused": sorted(ability.value for ability in self.health.refused),
            "away": self.away,
            "settled": self.settled,
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
