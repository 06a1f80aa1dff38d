"""The gateway: what it adds beside a proxy that does nothing, hits on a core, memory, the ledger."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from argo_mw_llm.costs.cost_file import COSTS, read
from argo_mw_sandbox import Latency, SandboxConfig, SandboxProcess
from tests.bench.gateway_stage.load import LEAD, Load, Taken, question
from tests.bench.gateway_stage.proxies import Proxy, bare, gateway, litellm

PROVIDERS = ("claude", "deepseek", "openai")
UPSTREAM = 1.0
RATE = 200.0
CALLERS = 16
KEPT = 1000
"""Answers that the gateway's cache holds while its memory is watched, so that it is soon full."""
MISSES = 10
"""Of so many requests one is a question that was never asked before."""
PATHS = ("/v1/messages", "/v1/chat/completions", "/v1/responses", "/v1/embeddings")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bench's own arguments."""
    parser.add_argument("--seconds", type=float, default=15.0, help="of each open loop")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hits", type=int, default=20_000)
    parser.add_argument("--requests", type=int, default=200_000, help="over which memory is flat")
    parser.add_argument("--part", choices=PARTS, action="append", help="measure this alone")
    parser.add_argument("--peers", type=int, default=500, help="requests that LiteLLM answers")


async def run(args: argparse.Namespace) -> dict[str, object]:
    """The figures."""
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.part or PARTS:
            figures |= await PARTS[name](args, Path(folder))
    return figures


async def added_latency(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    """What proxies add to an upstream of a second, in turns in the same run."""
    config = SandboxConfig(latency={"claude": Latency(median=UPSTREAM)})
    with SandboxProcess(config) as sandbox, bare(sandbox.url("claude")) as nothing:
        with gateway({"claude": sandbox.url("claude")}, _new(folder)) as ours:
            loads = [Load(one.url, one.key) for one in (nothing, ours)]
            found: list[list[Taken]] = [[], []]
            cpu = [0.0, 0.0]
            for turn in range(args.rounds + 1):
                for at, (load, proxy) in enumerate(zip(loads, (nothing, ours), strict=True)):
                    first, before = (turn * 2 + at) * 1_000_000, proxy.cpu
                    taken = await load.open_loop(args.seconds if turn else 0.0, RATE, first)
                    found[at] += taken
                    cpu[at] += proxy.cpu - before if turn else 0.0
            for load in loads:
                await load.close()
    requests = args.rounds * (args.seconds + LEAD) * RATE
    figures: dict[str, object] = {
        "bare_open_cpu_ms": cpu[0] / requests * 1000,
        "gateway_open_cpu_ms": cpu[1] / requests * 1000,
        "load_late_p99_ms": _quantile([one.late for some in found for one in some], 0.99) * 1000,
    }
    ratios = []
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        seconds = [[one.seconds for one in some] for some in found]
        added = [max(_quantile(some, share) - UPSTREAM, 1e-9) * 1000 for some in seconds]
        ratios.append(added[1] / added[0])
        figures |= {f"bare_{name}_ms": added[0], f"gateway_{name}_ms": added[1]}
    return {**figures, "vs_bare_proxy": max(ratios)}


async def hits(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    """How many kept answers a core gives in a second."""
    with SandboxProcess() as sandbox:
        with gateway({"claude": sandbox.url("claude")}, _new(folder)) as ours:
            load = Load(ours.url, ours.key)
            await load.closed_loop([question(0)] * 500, CALLERS)
            cpu = ours.cpu
            await load.closed_loop([question(0)] * args.hits, CALLERS)
            per_core = args.hits / (ours.cpu - cpu)
            await load.close()
    return {"hits_per_core": per_core}


async def memory(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Whether memory grows over many requests, hits and misses, once the cache is full."""
    cache = f"[plugins.cache]\nmax_entries = {KEPT}\n"
    with SandboxProcess() as sandbox:
        with gateway({"claude": sandbox.url("claude")}, _new(folder), cache) as ours:
            load = Load(ours.url, ours.key)
            full = KEPT * MISSES * 2
            await load.closed_loop(_mixed(0, full), CALLERS)
            early, cpu = ours.memory, ours.cpu
            seconds = await load.closed_loop(_mixed(full, args.requests), CALLERS)
            growth = (ours.memory - early) / 2**20
            mixed = (ours.cpu - cpu) / args.requests * 1000
            await load.close()
    return {
        "memory_growth_mib": growth,
        "memory_mib": early / 2**20,
        "mixed_cpu_ms": mixed,
        "mixed_per_second": args.requests / seconds,
    }


async def beside_litellm(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    """How much CPU a request takes beside LiteLLM's proxy."""
    with SandboxProcess() as sandbox:
        with gateway({"claude": sandbox.url("claude")}, _new(folder)) as ours:
            own = await _cpu_per_request(ours, args.peers)
        with bare(sandbox.url("claude")) as nothing:
            least = await _cpu_per_request(nothing, args.peers)
        figures: dict[str, object] = {"cpu_ms": own * 1000, "bare_cpu_ms": least * 1000}
        with litellm(sandbox.url("claude"), _new(folder)) as peer:
            if isinstance(peer, str):
                return {**figures, "litellm": peer}
            its = await _cpu_per_request(peer, args.peers)
    return {**figures, "litellm_cpu_ms": its * 1000, "vs_litellm_proxy": its / own}


async def ledger(_: argparse.Namespace, folder: Path) -> dict[str, object]:
    """By how many tokens the ledger is off, over all routes, whole, streamed and left."""
    config = SandboxConfig(latency={"claude": Latency(median=0.3)})
    state = _new(folder)
    with SandboxProcess(config) as sandbox:
        with gateway({name: sandbox.url(name) for name in PROVIDERS}, state) as ours:
            load = Load(ours.url, ours.key)
            for number in range(40):
                for path in PATHS:
                    more = {"stream": True} if number % 2 and path != PATHS[-1] else {}
                    assert await load.ask(question(number // 4, path, **more), path) == 200
            left = [question(1000 + at, stream=True) for at in range(20)]
            await asyncio.gather(*(load.ask(body, pieces=2) for body in left))
            await load.close()
            counts = await asyncio.to_thread(_counts_when_idle, sandbox)
    charges = read(state / COSTS)
    whole = [one for one in charges if not one.layer and not one.cost.estimated]
    booked = sum(one.cost.tokens_in + one.cost.tokens_out for one in whole)
    return {
        "ledger_off_tokens": abs(booked - counts),
        "left_streams_booked": sum(one.cost.estimated for one in charges),
    }


def _mixed(first: int, count: int) -> Iterator[bytes]:
    """Yield questions: one of ``MISSES`` is new, the others were asked shortly before."""
    for at in range(first, first + count):
        new = at // MISSES
        yield question(new if at % MISSES == 0 else max(0, new - at % 50 - 1))


def _counts_when_idle(sandbox: SandboxProcess) -> int:
    while any(one["in_flight"] for one in sandbox.counts().values()):
        time.sleep(0.05)
    counts = [sandbox.counts()[name]["tokens"] for name in PROVIDERS]
    return sum(sum(one.values()) for one in counts)  # type: ignore[attr-defined]


async def _cpu_per_request(proxy: Proxy, requests: int) -> float:
    load = Load(proxy.url, proxy.key)
    await load.closed_loop([question(at) for at in range(20)], CALLERS)
    cpu = proxy.cpu
    await load.closed_loop([question(1000 + at) for at in range(requests)], CALLERS)
    await load.close()
    return (proxy.cpu - cpu) / requests


def _quantile(found: Sequence[float], share: float) -> float:
    return statistics.quantiles(found, n=1000, method="inclusive")[round(share * 1000) - 1]


def _new(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder))


Part = Callable[[argparse.Namespace, Path], Awaitable[dict[str, object]]]
PARTS: dict[str, Part] = {
    "latency": added_latency,
    "hits": hits,
    "memory": memory,
    "litellm": beside_litellm,
    "ledger": ledger,
}
