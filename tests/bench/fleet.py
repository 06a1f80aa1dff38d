"""Past one process: what it costs to spread work over many.

The part ``spread``: signals of symbols that nobody knows yet, over a sandbox, on four local workers.

- ``cost_per_symbol_ratio``: what a symbol costs among a thousand, against among ten: the larger of
  ``requests_per_symbol_ratio``, requests that vendors have counted, and ``cpu_per_symbol_ratio``,
  CPU time of the caller and its workers.
- ``spread_imbalance``: how many of the thousand the busiest worker has, against their mean.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Mapping

from tests.bench.fleet_stage import spread

Part = Callable[[argparse.Namespace], Awaitable[Mapping[str, object]]]

PARTS: Mapping[str, Part] = {"spread": spread.run}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bench's own arguments."""
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    spread.add_arguments(parser)


async def run(args: argparse.Namespace) -> dict[str, object]:
    """Return the figures of the parts that are asked for."""
    found: dict[str, object] = {}
    for name in args.part:
        found |= await PARTS[name](args)
    return found
