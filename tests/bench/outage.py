"""An outage of Redis under a fleet: what calls cost while it lasts, and how soon it is over.

Three processes with 200 callers run the whole chain; the server is killed with -9 and started again.
The upstream answers at once, so what is measured is the framework's own time.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from argo_mw_redis.testing import RealServer, servers
from tests.faults.redis.nodes import Nodes, nodes

CALLS = 1_000
"""Calls of each process before, and during, each outage."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the bench's own arguments."""
    parser.add_argument("--rounds", type=int, default=5)


async def run(args: argparse.Namespace) -> dict[str, float]:
    """Return failed calls of all rounds, and the medians over rounds of everything else."""
    with tempfile.TemporaryDirectory() as directory, servers(Path(directory)) as start:
        server = await asyncio.to_thread(start)
        async with nodes(server.url, plugins={}) as fleet:
            await fleet.work(CALLS)
            rounds = [await _outage(server, fleet) for _ in range(args.rounds)]
            found = await fleet.ask("status")
    medians = {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}
    return {
        "outage_failed_calls": sum(int(str(s["failures"])) for s in found),
        "outage_wrong_answers": sum(int(str(s["wrongs"])) + int(str(s["stales"])) for s in found),
        **{name: round(figure, 3) for name, figure in medians.items()},
    }


async def _outage(server: RealServer, fleet: Nodes) -> dict[str, float]:
    await fleet.ask("waits")
    await fleet.work(CALLS)
    before = await _waits(fleet, "there")
    server.kill()
    await fleet.until(lambda s: s["away"] is True)
    await fleet.work(CALLS)
    during = await _waits(fleet, "away")
    await asyncio.to_thread(server.start)
    returned = time.monotonic()
    await fleet.settle()
    back = time.monotonic() - returned
    return {
        "before_p99_ms": _p99_ms(before),
        "outage_p99_ms": _p99_ms(during),
        "outage_added_p99_ms": max(0.0, _p99_ms(during) - _p99_ms(before)),
        "outage_back_s": back,
    }


async def _waits(fleet: Nodes, when: str) -> list[float]:
    """Return the seconds that the calls since the last time took, with the store or without."""
    every = await fleet.ask("waits")
    return [float(str(wait)) for waits in every for wait in waits[when]]  # type: ignore[attr-defined]


def _p99_ms(waits: list[float]) -> float:
    return 1e3 * statistics.quantiles(waits, n=100)[98]
