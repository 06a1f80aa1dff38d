"""Stores that half work under a fleet: what callers are answered, what they wait, what is loaded.

For each fault, three processes with 200 callers run the whole chain, first on a store that is well,
then with the fault. Their upstreams answer with versions that all processes change and invalidate,
so that each answer is checked against the truth and against the last invalidation that its process
must know of. What is loaded is compared with a fleet without a store. Its processes do not hear of
each other's invalidations; each that is heard of is a reason for one more load.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from attrs import frozen

import tests.faults.sqlite
from argo_mw_redis.testing import RealServer, servers
from tests.faults.redis.half import ALL, SAVING
from tests.faults.redis.half import FAULTS as OF_REDIS
from tests.faults.redis.nodes import NODES, Nodes, Status, nodes

PAUSE = 0.4
"""The longest pause, in seconds, of a caller, and of a process between two changes."""
PLUGINS: Mapping[str, object] = {"cache": {"ttl": 2.0, "early": 0.0, "jitter": 0.0}}
WARM_UP = 1_000
"""Calls of each process before anything is measured."""
AGAIN = 5.0
"""Seconds after which a fault that passes at once is made again."""
NO_STORE = "unreachable://"
HOLDER = Path(tests.faults.sqlite.__path__[0], "holder.py")


@frozen
class Store:
    """A real store, with one fault that can be made.

    Attributes:
        url: Where it is.
        begin: Makes the fault.
        end: Ends it.
        remedy: Words of the trouble that say what to do; empty when the processes recover from the
            fault by themselves at once, so that there is no trouble.
    """

    url: str
    begin: Callable[[], object]
    end: Callable[[], object]
    remedy: str


class Made(Protocol):
    """Starts a store whose files lie in *directory*."""

    def __call__(self, directory: Path) -> contextlib.AbstractContextManager[Store]:
        """Return it, with one fault that can be made."""


@contextlib.contextmanager
def redis(name: str, directory: Path) -> Iterator[Store]:
    """Start a Redis with the fault *name*."""
    fault = OF_REDIS[name]

    def begin(server: RealServer) -> None:
        fault.begin(server)
        if fault.spares:  # what runs already does not notice until it connects again
            server.command("CLIENT", "KILL", "TYPE", "pubsub")

    with servers(directory) as start:
        server = start(*SAVING)
        server.allow("app", ALL)
        yield Store(
            server.url_of("app"), partial(begin, server), partial(fault.end, server), fault.remedy
        )


@contextlib.contextmanager
def locked(directory: Path, *, suspended: bool = False) -> Iterator[Store]:
    """Make a SQLite file that another process locks."""
    path = directory / "shared.db"
    holders: list[subprocess.Popen[str]] = []

    def begin() -> None:
        command = [sys.executable, str(HOLDER), str(path)]
        pipe = subprocess.PIPE
        holder = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        holders.append(holder)
        assert holder.stdout is not None
        if holder.stdout.readline() != "locked\n":
            msg = "the file could not be locked"
            raise RuntimeError(msg)
        if suspended:
            holder.send_signal(signal.SIGSTOP)

    def end() -> None:
        while holders:
            holder = holders.pop()
            holder.kill()
            holder.communicate()

    try:
        yield Store(f"sqlite:///{path}", begin, end, "end it")
    finally:
        end()


@contextlib.contextmanager
def removed(directory: Path) -> Iterator[Store]:
    """Make a SQLite file that is removed."""
    path = directory / "shared.db"

    def remove() -> None:
        for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            file.unlink(missing_ok=True)

    yield Store(f"sqlite:///{path}", remove, lambda: None, "")


FAULTS: Mapping[str, Made] = {
    **{f"redis: {name}": partial(redis, name) for name in OF_REDIS},
    "sqlite: locked": locked,
    "sqlite: locked by a suspended process": partial(locked, suspended=True),
    "sqlite: removed": removed,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the bench's own arguments."""
    parser.add_argument("--seconds", type=float, default=60.0, help="before, and of, each fault")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=[*FAULTS], metavar="FAULT")


async def run(args: argparse.Namespace) -> dict[str, object]:
    """Return the figures of each fault, and the worst of all."""
    rate = await _without_a_store(args.seconds)
    found = {}
    for name in args.faults:
        found[name] = await measure(FAULTS[name], args.seconds)
        due = rate + found[name]["heard_per_s"]
        found[name]["loads_ratio"] = round(found[name]["loads_per_s"] / due, 3)
        print(json.dumps({"fault": name, **found[name]}), flush=True)
    most = {key: max(one[key] for one in found.values()) for key in next(iter(found.values()))}
    # Neither none nor two: the number that is furthest from one.
    most["troubles"] = max((one["troubles"] for one in found.values()), key=lambda n: abs(n - 1))
    return {**most, "loads_per_s_without_a_store": round(rate, 1), "faults": found}


async def measure(make: Made, seconds: float) -> dict[str, float]:
    """Return the figures of one fault, on a store that is well for *seconds* before.

    Args:
        make: Starts the store.
        seconds: How long the fault lasts.
    """
    with tempfile.TemporaryDirectory() as directory, make(Path(directory)) as store:
        async with nodes(store.url, pause=PAUSE, plugins=PLUGINS) as fleet:
            await fleet.work(WARM_UP)
            await fleet.settle()
            await fleet.ask("waits")
            await asyncio.sleep(seconds)
            before = await _p99_ms(fleet)
            known = await _begin(store, fleet)
            started, first = time.monotonic(), await fleet.ask("status")
            await _last(store, seconds)
            last, lasted = await fleet.ask("status"), time.monotonic() - started
            during = await _p99_ms(fleet)
            await asyncio.to_thread(store.end)
            await fleet.agree()
            await fleet.work(WARM_UP)
            end = await fleet.ask("status")
    heard = (NODES - 1) * _gained("shared_changes", first, last)
    return {
        "wrong": _sum("wrongs", end),
        "stale": _sum("stales", end),
        "failed": _sum("failures", end),
        "known_s": round(known, 3),
        "before_p99_ms": round(before, 3),
        "fault_p99_ms": round(during, 3),
        "added_p99_ms": round(max(0.0, during - before), 3),
        "loads_per_s": round(_gained("loads", first, last) / lasted, 1),
        "heard_per_s": round(heard / lasted, 1),
        "troubles": _troubles(store, end),
        "without_remedy": sum(store.remedy not in one for one in _texts(end)),
    }


async def _without_a_store(seconds: float) -> float:
    """Return how many requests a second reach the upstreams of a fleet without a store."""
    async with nodes(NO_STORE, pause=PAUSE, plugins=PLUGINS) as fleet:
        await fleet.work(WARM_UP)
        started, first = time.monotonic(), await fleet.ask("status")
        await asyncio.sleep(seconds)
        last = await fleet.ask("status")
        return _gained("loads", first, last) / (time.monotonic() - started)


async def _begin(store: Store, fleet: Nodes) -> float:
    """Make the fault; return the seconds after which every process knew of it."""
    await asyncio.to_thread(store.begin)
    started = time.monotonic()
    if store.remedy:
        await fleet.until(lambda s: bool(s["refused"]))
    known = time.monotonic() - started
    await fleet.work(1)  # those that had waited to find out have their answers
    await fleet.ask("waits")
    return known


async def _last(store: Store, seconds: float) -> None:
    """Let the fault last for *seconds*."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        await asyncio.sleep(left if store.remedy else min(left, AGAIN))
        if not store.remedy:
            await asyncio.to_thread(store.begin)


async def _p99_ms(fleet: Nodes) -> float:
    """Return the 99th percentile of what calls since the last time took."""
    every = await fleet.ask("waits")
    waits = [wait for one in every for waits in one.values() for wait in waits]  # type: ignore[attr-defined]
    return 1e3 * statistics.quantiles(waits, n=100)[98]


def _troubles(store: Store, found: Sequence[Status]) -> int:
    """Return the troubles of a process, of the one furthest from one; one if none is needed."""
    counts = [len(_texts([one])) for one in found]
    if not store.remedy:
        return 1 + max(counts)
    return max(counts, key=lambda count: abs(count - 1))


def _texts(found: Sequence[Status]) -> list[str]:
    return [str(text) for one in found for text in one["troubles"]]  # type: ignore[attr-defined]


def _sum(name: str, found: Sequence[Status]) -> int:
    return sum(int(str(one[name])) for one in found)


def _gained(name: str, first: Sequence[Status], last: Sequence[Status]) -> int:
    return _sum(name, last) - _sum(name, first)
