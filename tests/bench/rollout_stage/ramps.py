"""Ramps on the simulated service, each judged at every look."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from argo_mw_rollout.statistics import Judge, Rules, Verdict
from tests.bench.rollout_stage.service import NONE, SECONDS, Effect, Service

STEPS = (10.0, 50.0)
RULES = Rules(steps=len(STEPS), warm_up=120.0)
"""What a plan with these steps is judged by."""

LOOK = 5
"""Blocks between two looks."""


@frozen
class Ramp:
    """How a ramp went.

    Attributes:
        verdict: The last verdict.
        reached: The share that was reached; 100 when the flag was switched on.
        seconds: How long it took.
        calls: How many calls the service had in that time, on average.
        metric: The metric that it was rolled back for, or "".
    """

    verdict: Verdict
    reached: float
    seconds: float
    calls: float
    metric: str


def run(
    seed: int,
    effect: Effect = NONE,
    *,
    hours: float,
    steps: Sequence[float] = STEPS,
    rules: Rules | None = None,
    tide: float = 0.5,
    seconds: float = SECONDS,
) -> Ramp:
    """Ramp a layer that has *effect* for so many *hours* at most, and return how that went.

    Args:
        seed: Of the service.
        effect: What the layer does.
        hours: When it ends, if it is neither switched on nor rolled back before.
        steps: The shares, in percent.
        rules: What it is judged by; :data:`RULES` by default.
        tide: By what part the calls of an hour are more or less than on average.
        seconds: How long a block is.
    """
    service = Service(seed, tide)
    judge = Judge(rules or RULES)
    judge.learn(service.before())
    now, end = 0.0, hours * 3600.0
    verdict = judge.verdict()
    following = [*steps[1:], 100.0]
    for percent, to in zip(steps, following, strict=True):
        judge.begin(percent, to, now)
        least = now + 1800.0
        while True:
            if now >= end:
                return _ended(verdict, percent, now)
            for block in service.blocks(now, LOOK, percent, effect, seconds):
                judge.observe(block)
            now += LOOK * seconds
            verdict = judge.verdict()
            if verdict.action == "roll back":
                return _ended(verdict, 0.0, now)
            if verdict.action == "promote" and now >= least:
                break
    return _ended(verdict, 100.0, now)


def _ended(verdict: Verdict, reached: float, seconds: float) -> Ramp:
    harmed = [one.metric for one in verdict.evidence if one.state == "harmed"]
    rolled_back = verdict.action == "roll back"
    return Ramp(verdict, reached, seconds, 5.0 * seconds, harmed[0] if rolled_back else "")
