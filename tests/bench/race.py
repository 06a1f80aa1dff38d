"""The gain and cost of hedging and racing over real sockets, and that nothing leaks."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from argo_mw import Argo, Outcome
from argo_mw.app.application import engine_of
from argo_mw.plugin import Call, Upstream
from argo_mw.testing import FakePlugin
from argo_mw_race import plugin as race_plugin
from argo_mw_sandbox import Fault, Latency, SandboxProcess
from tests.bench.race_stage.traffic import plot, shares
from tests.bench.race_stage.web import LATENCY, WebUpstream, application, bars, sandbox


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options."""
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--calls", type=int, default=3000, help="calls per seed and variant")
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--cancelled", type=int, default=1000, help="hedges to cancel")
    parser.add_argument("--rounds", type=int, default=5, help="of the measurement of CPU time")
    parser.add_argument("--plot", type=Path, help="write the shares of traffic to this SVG file")


async def run(args: argparse.Namespace) -> dict[str, object]:
    """Return all figures: medians over the seeds, and each seed's own beside them."""
    hedged = [await hedge(seed, args.calls, args.concurrency) for seed in args.seeds]
    raced = [await race(seed, args.calls // 4) for seed in args.seeds]
    figures: dict[str, object] = {}
    for rows in (hedged, raced):
        for key in rows[0]:
            values = [row[key] for row in rows]
            figures[key] = round(statistics.median(values), 4)
            figures[f"{key}_by_seed"] = [round(value, 4) for value in values]
    figures["race_cpu_us"] = round(await cpu(args.rounds), 1)
    figures.update(await failing_fast(args.seeds[0]))
    figures.update(await cancelled(args.seeds[0], args.cancelled))
    figures.update(await traffic(args.seeds[0], args.plot))
    return figures


async def hedge(seed: int, calls: int, concurrency: int) -> dict[str, float]:
    """Compare the 99th percentile of hedged calls with that of the single upstream."""
    async with sandbox(seed) as process, application(process, "alpaca") as (argo, _):
        single = await ask(argo, calls, concurrency)
    async with (
        sandbox(seed) as process,
        application(process, "alpaca", "massive", strategy="hedge") as (argo, _),
    ):
        hedged = await ask(argo, calls, concurrency)
        counts = await counted(process)
    requests = sum(int(str(one["requests"])) for one in counts.values())
    return {
        "single_p99_ms": 1000 * percentile(single, 99),
        "hedge_p99_ms": 1000 * percentile(hedged, 99),
        "hedge_p99_ratio": percentile(hedged, 99) / percentile(single, 99),
        "hedge_p50_ratio": percentile(hedged, 50) / percentile(single, 50),
        "hedge_extra_calls_pct": 100 * (requests / calls - 1),
    }


async def race(seed: int, calls: int) -> dict[str, float]:
    """Compare the median of raced calls with that of the faster of the two latencies, replayed.

    A seed gives each vendor the same latencies in every sandbox, and one call at a time keeps
    them in step: what the faster of the two would have taken is known for every call.
    """
    alone: list[list[float]] = []
    for vendor in ("alpaca", "massive"):
        async with sandbox(seed) as process, application(process, vendor) as (argo, _):
            alone.append(await ask(argo, calls, 1))
    async with (
        sandbox(seed) as process,
        application(process, "alpaca", "massive", strategy="race") as (argo, _),
    ):
        raced = await ask(argo, calls, 1)
    faster = [min(pair) for pair in zip(*alone, strict=True)]
    return {
        "race_p50_ms": 1000 * percentile(raced, 50),
        "race_p50_ratio": percentile(raced, 50) / percentile(faster, 50),
        "race_p99_ratio": percentile(raced, 99) / percentile(alone[0], 99),
    }


async def cpu(rounds: int, calls: int = 2000) -> float:
    """Return the microseconds of CPU time of a raced call beyond a bare ``asyncio.wait``."""

    async def quick(call: Call | None = None) -> Outcome:
        await asyncio.sleep(0)
        return Outcome("quick")

    async def slow(call: Call | None = None) -> Outcome:
        await asyncio.sleep(60)
        return Outcome("slow")

    async def bare() -> None:
        tasks = [asyncio.create_task(quick()), asyncio.create_task(slow())]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        for task in done:
            task.result()

    upstreams = [Upstream("quick", {"bars"}, quick), Upstream("slow", {"bars"}, slow)]
    argo = Argo.open(
        {
            "argo": {"shared": "memory://", "strict": True},
            "plugins": {"race": {"strategy": "race"}},
        },
        plugins={
            "race": race_plugin,
            "asked": FakePlugin(operations=[bars], upstreams=upstreams),
        },
        installed=False,
    )
    extra: list[float] = []
    async with argo:
        for _ in range(rounds):
            began = time.process_time()
            for _ in range(calls):
                await argo.outcome("bars", symbol="AAPL")
            middle = time.process_time()
            for _ in range(calls):
                await bare()
            extra.append((middle - began) - (time.process_time() - middle))
    return 1e6 * statistics.median(extra) / calls


async def failing_fast(seed: int, calls: int = 50) -> dict[str, object]:
    """One upstream answers 500 at once, the other answers after 200 ms: always an answer."""
    latency = {"massive": Latency(median=0.200)}
    faults = {"alpaca": (Fault("server_error"),)}
    answered = 0
    async with sandbox(seed, latency, faults) as process:
        for strategy in ("race", "hedge", "fallback"):
            async with application(
                process, "alpaca", "massive", strategy=strategy, order="configured"
            ) as (argo, _):
                for _ in range(calls):
                    outcome = await argo.outcome("bars", symbol="AAPL")
                    answered += outcome.upstream == "massive"
    return {"failing_fast_answered_pct": 100 * answered / (3 * calls)}


async def cancelled(seed: int, hedges: int) -> dict[str, object]:
    """Cancel many hedges, and count what they leak."""
    latency = {"alpaca": LATENCY, "massive": Latency(median=5.0)}
    async with (
        sandbox(seed, latency) as process,
        application(process, "alpaca", "massive", strategy="race") as (argo, upstreams),
    ):
        await ask(argo, hedges, 8)
        while engine_of(argo).tasks.names:
            await asyncio.sleep(0.01)
        counts = await until_quiet(process)
        lost = await lost_slots(process, upstreams)
        tasks = len([t for t in asyncio.all_tasks() if t.get_name().startswith("argo-mw:race")])
    unanswered = sum(int(str(one["unanswered"])) for one in counts.values())
    disconnects = sum(int(str(one["disconnects"])) for one in counts.values())
    return {
        "cancelled_hedges": unanswered,
        "leaked_slots": lost,
        "leaked_tasks": tasks,
        "unanswered_without_disconnect": unanswered - disconnects,
    }


async def traffic(seed: int, picture: Path | None) -> dict[str, object]:
    """Return where the traffic goes while an upstream turns slow, dead and healthy again."""
    slow, slow_hedges, slow_lost = await shares(0.1, 2000, 20, seed)
    fast, fast_hedges, fast_lost = await shares(1000.0, 20_000, 20, seed)
    if picture is not None:
        curves = {"0.1 calls a second": slow, "1,000 calls a second": fast}
        await asyncio.to_thread(picture.write_text, plot(curves), "utf-8")
    return {
        "traffic_share_slow_rate": phases(slow),
        "traffic_share_fast_rate": phases(fast),
        "traffic_hedges_pct_slow_rate": round(100 * slow_hedges, 2),
        "traffic_hedges_pct_fast_rate": round(100 * fast_hedges, 2),
        "traffic_unanswered": slow_lost + fast_lost,
    }


def phases(series: Sequence[float]) -> list[float]:
    """Return the share at the end of each phase: the mean of its last quarter."""
    size = len(series) // 4
    ends = [series[(i + 1) * size - size // 4 : (i + 1) * size] for i in range(4)]
    return [round(statistics.fmean(end), 3) for end in ends]


async def ask(argo: Argo, calls: int, concurrency: int) -> list[float]:
    """Ask *calls* times, *concurrency* at once; return the seconds that each took."""
    seconds: list[float] = []
    left = iter(range(calls))

    async def asker() -> None:
        for _ in left:
            began = time.perf_counter()
            await argo.outcome("bars", symbol="AAPL")
            seconds.append(time.perf_counter() - began)

    await asyncio.gather(*(asker() for _ in range(concurrency)))
    return seconds


async def counted(process: SandboxProcess) -> dict[str, dict[str, object]]:
    """Return the counts of the sandbox."""
    return await asyncio.to_thread(process.counts)


async def until_quiet(process: SandboxProcess) -> dict[str, dict[str, object]]:
    """Return the counts of the sandbox, once it has noticed all disconnects."""
    for _ in range(100):
        counts = await counted(process)
        if not any(one["in_flight"] for one in counts.values()):
            break
        await asyncio.sleep(0.05)
    return counts


async def lost_slots(process: SandboxProcess, upstreams: Sequence[WebUpstream]) -> int:
    """Count connections that clients can no longer take, while the sandbox answers at once."""
    from argo_mw_sandbox import Change

    instant = {one.name: Latency() for one in upstreams}
    await asyncio.to_thread(process.change, Change(latency=instant))
    return sum([await one.lost_slots() for one in upstreams])


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the *percent*th percentile."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
