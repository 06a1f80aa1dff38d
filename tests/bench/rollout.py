"""How often the judge of rollouts errs, and how soon it sees harm, on a simulated service.

The service, with its rates and noises, is described in ``rollout_stage/service.py``. A ramp has the steps 10
and 50 %, half an hour each at least, and is judged at every fifth block. Blocks are of 30 s where
harm is to be detected, and longer where ramps are long. Each ramp has a service and a seed of its own.

- ``false_rollback_upper``: of ramps of a layer that does nothing, followed for ``--hours``, the
  share that was rolled back: the upper 95 % bound of Clopper and Pearson.
- ``false_promote_upper``: the same of ramps with harm of twice a guardrail's margin, and a gain that is
  worth promoting, that were switched on for all; each guardrail has its part of the ramps, which begin
  at the last step, where it matters. ``promoted_without_harm``: the share that is, without the harm.
- ``detected``: by harm, the share that is rolled back within two hours at 10 %. ``calls`` are the calls of
  the whole service until then, by median; ``fixed_calls`` those of a test of a size fixed
  beforehand that knows the variances.
- ``judge_hit_us``: what counting costs an answer from memory, beside the same chain without it;
  ``watched_hit_us`` the same while a flag is watched, and each hit is counted for its subject.
- ``promoted``: of ramps that save three requests of ten, the share that was switched on for all.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence

from attrs import evolve
from scipy.stats import beta

from argo_mw_rollout.statistics import GUARDRAILS
from tests.bench.rollout_stage import hits, ramps
from tests.bench.rollout_stage.fixed import calls_needed
from tests.bench.rollout_stage.ramps import Ramp
from tests.bench.rollout_stage.service import SCALE, Effect

HARMS: Mapping[str, tuple[Effect, str, float]] = {
    "errors_2_points": (Effect(errors=0.02), "errors", 0.02),
    "p99_1.5": (Effect(latency=1.5), "slow", 1.5 ** (1 / SCALE) - 1),
    "usd_1.3": (Effect(usd=1.3), "usd", 0.3),
    "price_error_1.5": (Effect(distance=1.5), "distance", 0.5),
    "corrupted_3_percent": (Effect(wrong=0.03), "wrong", 0.03),
}
"""Each harm, with the metric that shows it and its size there."""

TWICE: Mapping[str, Effect] = {
    "errors": Effect(errors=2 * GUARDRAILS["errors"].margin, requests=0.7),
    "slow": Effect(latency=(1 + 2 * GUARDRAILS["slow"].margin) ** SCALE, requests=0.7),
    "slowest": Effect(tail=1 + 2 * GUARDRAILS["slowest"].margin, requests=0.7),
    "requests": Effect(requests=1 + 2 * GUARDRAILS["requests"].margin, usd=0.8, latency=0.7),
    "usd": Effect(usd=1 + 2 * GUARDRAILS["usd"].margin, latency=0.7),
    "distance": Effect(distance=1 + 2 * GUARDRAILS["distance"].margin, requests=0.7),
    "wrong": Effect(wrong=2 * GUARDRAILS["wrong"].margin, requests=0.7),
}
"""Harm of twice each guardrail's margin, beside a gain."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options."""
    parser.add_argument("--seed", type=int, default=20, help="of the first ramp of each kind")
    parser.add_argument("--ramps", type=int, default=1000)
    parser.add_argument("--hours", type=float, default=8.0, help="of a ramp without harm")
    parser.add_argument("--harmed", type=int, default=200, help="ramps for each harm")
    parser.add_argument("--rounds", type=int, default=15, help="of the measurement of hits")
    parser.add_argument("--good", type=int, default=20, help="ramps of a layer that is worth it")


async def run(args: argparse.Namespace) -> dict[str, object]:
    """Return all figures."""
    began = time.perf_counter()
    base = 1_000_000 * args.seed
    figures: dict[str, object] = {}
    none = [ramps.run(base + i, hours=args.hours, seconds=60.0) for i in range(args.ramps)]
    figures |= _rolled_back(none)
    figures |= _promoted(base + 100_000, args.ramps)
    harms = {
        name: _harm(base + 200_000 + 10_000 * i, args.harmed, *harm)
        for i, (name, harm) in enumerate(HARMS.items())
    }
    figures["detected"] = min(float(str(harm["detected"])) for harm in harms.values())
    figures["harms"] = harms
    figures |= _good(base + 300_000, args.good)
    figures |= await hits.measure(args.rounds, 5_000)
    figures["bench_s"] = round(time.perf_counter() - began)
    return figures


def upper(events: int, of: int) -> float:
    """Return the upper 95 % bound of Clopper and Pearson for a share."""
    return 1.0 if events >= of else float(beta.ppf(0.95, events + 1, of - events))


def _rolled_back(found: Sequence[Ramp]) -> dict[str, object]:
    metrics = [one.metric for one in found if one.metric]
    return {
        "ramps": len(found),
        "false_rollbacks": len(metrics),
        "false_rollback_upper": round(upper(len(metrics), len(found)), 5),
        "false_rollback_metrics": {name: metrics.count(name) for name in sorted(set(metrics))},
        "reached": {f"{p:g}": sum(one.reached >= p for one in found) for p in ramps.STEPS},
    }


def _promoted(base: int, number: int) -> dict[str, object]:
    harms = list(TWICE)
    found = [_last_step(base + i, harms[i % len(harms)]) for i in range(number)]
    promoted = [name for name, one in found if one.reached >= 100.0]
    without = [
        _last_step(base + number + i, name, Effect(requests=0.7))
        for i, name in enumerate(2 * harms)
    ]
    return {
        "false_promotes": len(promoted),
        "false_promote_upper": round(upper(len(promoted), number), 5),
        "false_promote_harms": {name: promoted.count(name) for name in sorted(set(promoted))},
        "promoted_without_harm": sum(one.reached >= 100.0 for _, one in without) / len(without),
    }


def _last_step(seed: int, name: str, effect: Effect | None = None) -> tuple[str, Ramp]:
    """Judge the last step for so long that it would be taken, were there no harm.

    That wrong answers are rare takes days of audits to show, so these have ramps of their own:
    they would hold all others back until then.
    """
    wrong = name == "wrong"
    guardrails = {one: rail for one, rail in GUARDRAILS.items() if (one == "wrong") == wrong}
    ramp = ramps.run(
        seed,
        effect or TWICE[name],
        hours=120.0 if wrong else 20.0,
        steps=ramps.STEPS[-1:],
        rules=evolve(ramps.RULES, guardrails=guardrails),
        seconds=600.0 if wrong else 240.0,
    )
    return name, ramp


def _harm(base: int, number: int, effect: Effect, metric: str, size: float) -> dict[str, object]:
    found = [ramps.run(base + i, effect, hours=2.0, steps=(10.0,), tide=0.0) for i in range(number)]
    seen = [one for one in found if one.metric]
    return {
        "detected": len(seen) / number,
        "calls": round(statistics.median(one.calls if one.metric else 1e9 for one in found)),
        "fixed_calls": round(calls_needed(metric, size, ramps.RULES, 10.0)),
        "by": {name: sum(one.metric == name for one in seen) for name in GUARDRAILS},
    }


def _good(base: int, number: int) -> dict[str, object]:
    effect = Effect(requests=0.7)
    found = [ramps.run(base + i, effect, hours=120.0, seconds=300.0) for i in range(number)]
    switched = [one.seconds / 3600.0 for one in found if one.reached >= 100.0]
    return {
        "promoted": len(switched) / max(number, 1),
        "promoted_hours": round(statistics.median(switched), 1) if switched else None,
    }
