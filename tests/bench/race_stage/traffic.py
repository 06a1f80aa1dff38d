"""An upstream turns slow, then dead, then healthy: where the traffic goes, on a fake clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from argo_mw import Argo, ArgoError, Outcome
from argo_mw.plugin import Call, Upstream
from argo_mw.testing import FakeClock, FakePlugin
from argo_mw_race import plugin as race_plugin
from tests.bench.race_stage.web import bars

PHASES = (("well", 0.020), ("slow", 0.400), ("dead", 1e9), ("well again", 0.020))
"""The phases of the first upstream, and its median latency in seconds."""

OTHER = 0.030
SIGMA = 0.4
LAST_WAIT = 60.0


async def shares(
    per_second: float, calls: int, buckets: int, seed: int
) -> tuple[list[float], float, int]:
    """Return the first upstream's share of answers in each bucket of time, hedges per call, failures.

    Args:
        per_second: Calls a second.
        calls: Calls in each phase.
        buckets: Parts that a phase is cut into.
        seed: The seed of the latencies.
    """
    clock = FakeClock()
    chance = random.Random(seed)
    medians = {"first": PHASES[0][1], "other": OTHER}
    won = {"first": 0, "other": 0}
    sent = 0

    async def fetch(call: Call) -> Outcome:
        nonlocal sent
        sent += 1
        assert call.upstream is not None
        await clock.sleep(medians[call.upstream] * chance.lognormvariate(0.0, SIGMA))
        return Outcome(call.upstream)

    unanswered = 0

    async def ask(number: int) -> None:
        nonlocal unanswered
        try:
            outcome = await argo.outcome("bars", symbol=f"S{number}")
        except ArgoError:
            unanswered += 1
        else:
            won[str(outcome.value)] += 1

    upstreams = [Upstream(name, {"bars"}, fetch, retries=0) for name in medians]
    argo = Argo.open(
        {"argo": {"shared": "memory://", "strict": True}},
        clock=clock,
        plugins={
            "race": race_plugin,
            "asked": FakePlugin(operations=[bars], upstreams=upstreams),
        },
        installed=False,
    )
    series: list[float] = []
    tasks: list[asyncio.Task[None]] = []
    async with argo:
        for _, median in PHASES:
            medians["first"] = median
            for _ in range(buckets):
                won.update(first=0, other=0)
                for number in range(calls // buckets):
                    tasks.append(asyncio.create_task(ask(number)))
                    await clock.advance(1 / per_second)
                await clock.advance(0.2)
                series.append(won["first"] / max(1, sum(won.values())))
        await clock.advance(LAST_WAIT)
        await asyncio.gather(*tasks)
    total = calls // buckets * buckets * len(PHASES)
    return series, (sent - total) / total, unanswered


def plot(curves: dict[str, Sequence[float]]) -> str:
    """Draw the shares over time as an SVG picture."""
    width, height, left, top = 720, 220, 50, 30
    colours = ("#1f77b4", "#d62728", "#2ca02c")
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + 80}" '
            'font-family="sans-serif" font-size="12">'
        ),
        f'<text x="{left}" y="16">Share of answers from the first upstream</text>',
    ]
    inner = width - left - 10
    for place, (name, _) in enumerate(PHASES):
        x = left + inner * place / len(PHASES)
        parts.append(
            f'<line x1="{x:.0f}" y1="{top}" x2="{x:.0f}" y2="{top + height}" stroke="#ccc"/>'
        )
        parts.append(f'<text x="{x + 4:.0f}" y="{top + height + 16}">{name}</text>')
    for share in (0.0, 0.5, 1.0):
        y = top + height * (1 - share)
        parts.append(f'<text x="8" y="{y + 4:.0f}">{share:.0%}</text>')
    for curve, colour in zip(curves.values(), colours, strict=False):
        step = inner / len(curve)
        points = " ".join(
            f"{left + (i + 0.5) * step:.1f},{top + height * (1 - share):.1f}"
            for i, share in enumerate(curve)
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
    for number, (name, colour) in enumerate(zip(curves, colours, strict=False)):
        x = left + 180 * number
        parts.append(f'<text x="{x}" y="{top + height + 40}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])
