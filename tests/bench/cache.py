"""The shared cache: gets a second beside other clients, a frame's way there and back, hit ratios."""

from __future__ import annotations

import argparse
import os
import tempfile
from functools import partial
from pathlib import Path

from argo_mw_redis.testing import servers
from tests.bench.cache_stage import frames, memory
from tests.bench.cache_stage.gets import clients, in_turns, latency, raw_mget, throughput
from tests.bench.cache_stage.gets_chain import chain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bench's own arguments."""
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=40, help="gets per caller and round")
    parser.add_argument("--frame-rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=2_000_000, help="of the Zipf trace")


async def run(args: argparse.Namespace) -> dict[str, float]:
    """Gets a second, microseconds a get, milliseconds and bytes a frame, percents of hits."""
    with tempfile.TemporaryDirectory() as state:
        os.environ["ARGO_MW_STATE_DIR"] = state
        with servers(Path(state)) as start:
            figures = await gets(start().url, args.rounds, args.calls)
    figures |= frames.measure(args.frame_rounds)
    hits = memory.ratios(args.requests)
    best = max(value for name, value in hits.items() if name != "zipf_memory")
    return {**figures, **hits, "zipf_gap": round(best - hits["zipf_memory"], 2)}


async def gets(url: str, rounds: int, calls: int) -> dict[str, float]:
    """Throughput with 200 callers, and latency with one."""
    async with clients(url) as ways, chain(url) as ask:
        everyone = {**ways, "chain": ask}
        mget = await raw_mget(url, calls * 2)
        many = {name: partial(throughput, way, calls) for name, way in everyone.items()}
        per_second = await in_turns({**many, "mget100": mget}, rounds)
        one = {name: partial(latency, everyone[name], 500) for name in ("chain", "redis_py")}
        micros = await in_turns(one, rounds)
    figures = {f"{name}_per_s": round(value) for name, value in per_second.items()}
    figures |= {f"{name}_get_us": round(value, 1) for name, value in micros.items()}
    for peer in ("cashews_redis", "redis_py", "valkey_glide"):
        figures[f"vs_{peer}"] = round(per_second["chain"] / per_second[peer], 2)
    figures["driver_vs_mget100"] = round(per_second["driver"] / per_second["mget100"], 2)
    figures["l1_l2_get_ratio"] = round(micros["chain"] / micros["redis_py"], 2)
    return figures
