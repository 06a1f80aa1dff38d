"""Weighs what a step has shown: evidence for each metric, and one verdict from all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log

import numpy as np
from attrs import evolve, frozen

from argo_mw_rollout.statistics import rare, words
from argo_mw_rollout.statistics.compare import Comparison, compare
from argo_mw_rollout.statistics.metrics import METRICS, WRONG
from argo_mw_rollout.statistics.rare import Checked
from argo_mw_rollout.statistics.rules import Rules
from argo_mw_rollout.statistics.sample_ratio import mismatch
from argo_mw_rollout.statistics.sequence import log_threshold
from argo_mw_rollout.statistics.step import Step
from argo_mw_rollout.statistics.subjects import Baseline
from argo_mw_rollout.statistics.verdict import Evidence, State, Verdict

_READABLE = 0.025
"""The error probability, for each side, of intervals that are shown."""

_AT = {name: column for column, name in enumerate(METRICS)}


@frozen
class Before:
    """What was known before this step.

    Attributes:
        ramp: The answers that were checked before the ramp.
        treatment: Those that were checked in treatment, in the steps before.
        wrong_of: In how many blocks each subject of treatment was wrong there.
        known: Whether anything is known of the time before the ramp.
    """

    ramp: Checked
    treatment: Checked
    wrong_of: Mapping[str, int]
    known: bool


def weigh(
    rules: Rules, step: Step, baseline: Baseline, before: Before, faults: Sequence[str]
) -> Verdict:
    """Return what to do in *step*, and why."""
    comparison = compare(step, baseline)
    evidence = _of_metrics(rules, step, comparison)
    if WRONG in rules.guarded:
        evidence.append(_of_wrong(rules, step, before))
    found = Verdict("hold", "", evidence, step.percent, step.subjects, step.calls)
    sizes = mismatch(*step.subjects, step.percent, both=tuple(step.both), sources=step.sources)

    # Unequal arms cannot be compared, but a wrong answer is wrong in any arm.
    harmed = [one for one in evidence if one.state == "harmed"]
    certain = [one for one in harmed if sizes is None or one.metric == WRONG]
    if certain:
        return evolve(found, action="roll back", why=words.harm(certain), loud=True)

    problems = [words.unknown_metric(name) for name in rules.unknown]
    problems += [] if rules.guarded else [words.NO_GUARDRAIL]
    problems += [] if sizes is None else [words.mismatch(sizes)]
    problems += [words.unusable(faults)] if faults else []
    problems += [] if before.known else [words.NO_BASELINE]
    usual = step.checked[1].plus(before.ramp)
    if WRONG in rules.guarded and usual.wrong >= 5 and usual.share > rare.MOST_USUAL:
        problems.append(words.always_differ(usual))
    if problems:
        return evolve(found, why="; ".join(problems), loud=True)

    why, seconds, loud = _lacking(rules, step, evidence)
    if why:
        return evolve(found, why=why, seconds=seconds, loud=loud)
    unsafe = [one for one in evidence if one.state != "safe"]
    if unsafe:
        waits = [one.seconds for one in unsafe if one.seconds is not None]
        longest = max(waits) if len(waits) == len(unsafe) else None
        return evolve(found, why=words.not_yet_safe(unsafe, step.to), seconds=longest)
    gains = _gains(rules, comparison) if step.to >= 100.0 else []
    if step.to >= 100.0 and rules.hoped_for and not gains:
        return evolve(found, why=words.no_gain(rules.hoped_for))
    return evolve(found, action="promote", why=words.safe(step.to, gains))


def _of_metrics(rules: Rules, step: Step, comparison: Comparison) -> list[Evidence]:
    """Return the evidence for the metrics that are compared block by block."""
    guarded = rules.guarded
    each = np.array([rules.alpha_of(name) if name in guarded else rules.alpha for name in METRICS])
    certain, _ = comparison.interval(each / rules.steps)
    _, worst = comparison.interval(rules.alpha)
    low, high = comparison.interval(_READABLE)
    enough = min(step.subjects) >= rules.min_subjects
    found = []
    for name, metric in METRICS.items():
        if name not in guarded:
            continue
        at, margin = _AT[name], guarded[name].margin
        limit = _limit(margin, step)
        state: State = "open"
        if not comparison.known[at]:
            state = "no data"
        elif enough and comparison.blocks[at] >= rules.min_blocks:
            state = "harmed" if certain[at] > margin else "safe" if worst[at] < limit else "open"
        found.append(
            Evidence(
                name,
                metric.words,
                metric.relative,
                float(comparison.treatment[at]),
                float(comparison.control[at]),
                float(comparison.before[at]),
                float(comparison.change[at]),
                float(low[at]),
                float(high[at]),
                float(worst[at]),
                margin,
                limit,
                state,
                "",
                comparison.seconds_until(at, limit, rules.alpha, step.seconds),
            )
        )
    return found


def _of_wrong(rules: Rules, step: Step, before: Before) -> Evidence:
    """Return the evidence for wrong answers."""
    treatment, control = step.checked
    every = treatment.plus(before.treatment)
    margin = rules.guarded[WRONG].margin
    limit = _limit(margin, step)
    state: State = "open"
    if not treatment.total:
        state = "no data"
    elif _harmed_by_wrong(rules, step, before):
        state = "harmed"
    elif rare.evidence_of_safety(every, control, before.ramp, limit) >= log_threshold(rules.alpha):
        state = "safe"
    usual = control.plus(before.ramp).share
    rate = treatment.total / max(step.end - step.start, 1.0)
    needed = rare.checks_needed(usual, limit, rules.alpha) - every.right
    low, high = rare.bounds(every, _READABLE)
    return Evidence(
        WRONG,
        "wrong answers",
        False,
        every.share,
        control.share,
        before.ramp.share,
        every.share - usual,
        low - usual,
        high - usual,
        rare.bounds(every, rules.alpha)[1] - usual,
        margin,
        limit,
        state,
        words.checked(treatment, control),
        max(needed, 0.0) / rate if rate and not every.wrong else None,
    )


def _harmed_by_wrong(rules: Rules, step: Step, before: Before) -> bool:
    """Return whether treatment is certain to have more wrong answers, over several subjects.

    The whole ramp is tested, to see small harm, and this step alone, to see harm that begins late:
    each gets half of the trust, and the steps share theirs.
    """
    treatment, control = step.checked
    margin = rules.guarded[WRONG].margin
    wrong_of = added(before.wrong_of, step.wrong_of)
    if len(wrong_of) < rare.LEAST_SUBJECTS:
        return False
    every = Checked(treatment.plus(before.treatment).right, rare.spread(wrong_of))
    now = Checked(treatment.right, rare.spread(step.wrong_of))
    harm = np.logaddexp(
        rare.evidence_of_harm(every, control, before.ramp, margin),
        rare.evidence_of_harm(now, control, before.ramp, margin) - log(rules.steps),
    ) - log(2.0)
    return bool(harm >= log_threshold(rules.alpha_of(WRONG)))


def added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Return the numbers of both, by name."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def _limit(margin: float, step: Step) -> float:
    """Return the harm to rule out before the next step: twice the margin, if it is the last one.

    An earlier step may do more harm to each call, since it reaches fewer calls and larger harm is
    seen sooner.
    """
    return 2.0 * margin * (100.0 / step.to) ** 2


def _lacking(
    rules: Rules, step: Step, evidence: Sequence[Evidence]
) -> tuple[str, float | None, bool]:
    """Return what there is too little of, for how long about, and whether that is a fault."""
    if not step.seconds:
        return words.WARMING, max(step.start + rules.warm_up - step.end, 0.0), False
    fewest = min(step.subjects)
    if fewest < rules.min_subjects:
        seen = step.end - step.start
        wait = None
        if fewest and step.end - step.newest < seen / 2:  # new subjects still come
            wait = seen * (rules.min_subjects / fewest - 1.0)
        why = words.few_subjects(step, rules.min_subjects, waiting_helps=wait is not None)
        return why, wait, wait is None
    missing = [one for one in evidence if one.state == "no data"]
    if missing:
        early = min(step.heard_blocks) < rules.min_blocks
        return words.no_data(missing, early=early), None, not early
    return "", None, False


def _gains(rules: Rules, comparison: Comparison) -> list[str]:
    """Return the signals that have become better for certain, in words."""
    _, high = comparison.interval(rules.alpha / max(len(rules.hoped_for), 1))
    low, _ = comparison.interval(_READABLE)
    return [
        words.change(name, float(comparison.change[at]), float(low[at]), float(high[at]))
        for name, at in _AT.items()
        if name in rules.hoped_for and comparison.known[at] and high[at] < 0.0
    ]
