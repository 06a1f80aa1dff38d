"""Past one process: what it costs to spread work over many.

The part ``cluster``: 200 callers on a Redis cluster and on a single server.

- ``cluster_cpu_ratio``: CPU time of the client for each command, on the cluster against the server:
  the larger of that of gets, and of what layers do, gets among writes, counts and leases.

The part ``spread``: signals of symbols that nobody knows yet, over a sandbox, on four local workers.

- ``cost_per_symbol_ratio``: what a symbol costs among a thousand, against among ten: the larger of
  ``requests_per_symbol_ratio``, requests that vendors have counted, and ``cpu_per_symbol_ratio``,
  CPU time of the caller and its workers.
- ``spread_imbalance``: how many of the thousand the busiest worker has, against their mean.

The part ``latest``: the newest signal of each of 10,000 symbols, out of two million rows.

- ``latest_10k_p99_ms``: the 99th percentile of the time that this takes on SQLite while rows are
  written; ``latest_10k_pg_p99_ms`` on PostgreSQL. The first five
  reads are not counted.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Mapping

from tests.bench.fleet_stage import cluster, latest, spread

Part = Callable[[argparse.Namespace], Awaitable[Mapping[str, object]]]

PARTS: Mapping[str, Part] = {"cluster": cluster.run, "spread": spread.run, "latest": latest.run}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bench's own arguments."""
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    cluster.add_arguments(parser)
    spread.add_arguments(parser)
    latest.add_arguments(parser)


async def run(args: argparse.Namespace) -> dict[str, object]:
    """Return the figures of the parts that are asked for."""
    found: dict[str, object] = {}
    for name in args.part:
        found |= await PARTS[name](args)
    return found
