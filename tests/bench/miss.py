"""A new answer: what the chain adds in CPU time and waiting to one call of the upstream.

The upstream is a function that answers at once, so all that is measured is the way to it and back:
by store with all layers, one call after the other and with 200 callers at once; by layer alone over
the memory store; and beside caches that people use instead. All contestants take turns, and every
figure is the median of its rounds.

- ``*_us``: CPU time of the whole process for one answer, threads included, in microseconds.
- ``*_200_us``: the same while 200 callers ask for answers of their own.
- ``*_added_ms``: by how much the caller waits longer than for the function alone.
- ``redis_round_trips``: how many times a caller waits for Redis: by how much longer an answer takes
  behind a wire that is slower by a known time.
- ``alone``: with one layer, less the empty chain.

``--flame FILE`` draws where the time goes, with all layers over the memory store, and measures nothing else:
- ``by_layer``: the share of the CPU time in each room of the core and each plugin, with what they call outside
  of the project; by samples of the event loop's thread, one for each millisecond.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from argo_mw import Argo
from argo_mw.plugin import SLOTS
from argo_mw.registry import Plugins
from argo_mw_redis.testing import servers
from tests.bench.miss_stage.contestants import answer, peers
from tests.bench.miss_stage.flame import svg
from tests.bench.miss_stage.samples import by_layer, sampling
from tests.bench.miss_stage.taken import Ask, Taken, at_once, one_by_one
from tests.bench.miss_stage.wire import slow_wire

CALLERS = 200
WIRE = 0.005
"""Seconds by which the slow wire to Redis is slower, there and back."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bench's own arguments."""
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=400, help="answers in a round")
    parser.add_argument("--flame", type=Path, help="write a flame graph to this SVG file")


async def run(args: argparse.Namespace) -> dict[str, object]:
    """Return all figures."""
    with tempfile.TemporaryDirectory() as directory, servers(Path(directory)) as start:
        os.environ["ARGO_MW_STATE_DIR"] = directory
        if args.flame is not None:
            return await _drawn(args.flame, args.rounds, args.calls)
        url = start().url
        async with AsyncExitStack() as stack:
            stores = {
                name: await stack.enter_async_context(chain(shared))
                for name, shared in stores_in(directory, url).items()
            }
            layers = {
                name: await stack.enter_async_context(chain("memory://", only=name))
                for name in ("", *SLOTS)
            }
            wire = await stack.enter_async_context(slow_wire(url, WIRE))
            far = await stack.enter_async_context(chain(wire))
            others = await stack.enter_async_context(peers(url))
            everyone = {
                "bare": answer,
                **stores,
                **others,
                **{f"alone {name}": ask for name, ask in layers.items()},
            }
            single = await _in_turns(everyone, args.rounds, args.calls)
            many = await _in_turns({**stores, **others}, args.rounds, args.calls, CALLERS)
            near_and_far = await _in_turns({"near": stores["redis"], "far": far}, 5, 50)
    return {
        **{f"{name}_us": single[name].cpu_us for name in ("bare", *stores, *others)},
        **{f"{name}_{CALLERS}_us": taken.cpu_us for name, taken in many.items()},
        **{
            f"{name}_added_ms": round((single[name].wall_us - single["bare"].wall_us) / 1e3, 3)
            for name in stores
        },
        "redis_round_trips": round(
            (near_and_far["far"].wall_us - near_and_far["near"].wall_us) / (WIRE * 1e6), 2
        ),
        "empty_chain_us": single["alone "].cpu_us,
        "alone": {
            name: round(single[f"alone {name}"].cpu_us - single["alone "].cpu_us, 1)
            for name in SLOTS
        },
    }


async def _drawn(file: Path, rounds: int, calls: int) -> dict[str, object]:
    """Draw into *file* where the time of an answer goes; return each part's share."""
    async with chain("memory://") as ask:
        await one_by_one(ask, [f"warm-{i}" for i in range(calls)])
        taken = []
        with sampling() as stacks:
            for turn in range(rounds):
                taken.append(await one_by_one(ask, [f"{turn}-{i}" for i in range(calls)]))
    file.write_text(svg(stacks), "utf-8")
    each = statistics.median(one.cpu_us for one in taken)
    return {"memory_us": round(each, 1), "by_layer": by_layer(stacks)}


def stores_in(directory: str, redis: str) -> dict[str, str]:
    """Return the shared stores that are measured, by name."""
    return {
        "memory": "memory://",
        "sqlite": f"sqlite:///{directory}/shared.db",
        "redis": redis,
    }


@contextlib.asynccontextmanager
async def chain(shared: str, only: str | None = None) -> AsyncIterator[Ask]:
    """Yield the function behind the six layers, or behind *only* one of them ("" is none)."""
    beside = [name for name in Plugins.load().names if name not in (*SLOTS, "redis")]
    config: dict[str, object] = {"argo": {"shared": shared, "strict": True, "block": beside}}
    if only is not None:
        config["flags"] = {name: "on" if name == only else "off" for name in SLOTS}
    argo = Argo.open(config)
    asked = argo.wrap(name="quote", subject="symbol")(answer)
    async with argo:
        yield asked


async def _in_turns(
    contestants: Mapping[str, Ask], rounds: int, calls: int, callers: int = 1
) -> Mapping[str, Taken]:
    taken: dict[str, list[Taken]] = {name: [] for name in contestants}
    for turn in range(-1, rounds):
        for name, ask in contestants.items():
            symbols = [f"{turn}-{callers}-{i}" for i in range(calls)]
            took = await (
                one_by_one(ask, symbols) if callers == 1 else at_once(ask, symbols, callers)
            )
            if turn >= 0:  # the first one warms up
                taken[name].append(took)
    return {
        name: Taken(
            round(statistics.median(one.cpu_us for one in times), 1),
            round(statistics.median(one.wall_us for one in times), 1),
        )
        for name, times in taken.items()
    }
