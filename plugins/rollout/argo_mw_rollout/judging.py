"""Judging: from the counts of the fleet to the next step of a ramp, or back. No store, no tasks.

Each function returns a changed ramp. What to do about the flag is written into the ramp as an
intent, and carried out only once that is stored: if a judge is killed in between, the next one does
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from attrs import evolve

from argo_mw.plugin import Block, Counts, SubjectCounts, seconds, total
from argo_mw_rollout import evidence, statistics
from argo_mw_rollout.plan import percent_of
from argo_mw_rollout.ramp import LEARNING, Intent, Ramp
from argo_mw_rollout.statistics import Arm, Judge

QUIET = 20
"""Blocks of time without any call of an arm, after which a ramp holds."""

QUIET_AT_LEAST = 120.0
"""The least of these, in seconds."""

ENOUGH_CALLS = 200
"""Calls that must have waited before their percentiles say what is slow."""


def judge_of(ramp: Ramp) -> Judge:
    """Return the statistics of *ramp*, as the last judge left them.

    Raises:
        ValueError: They are of another version.
    """
    rules = ramp.plan.rules
    return Judge(rules) if ramp.judge is None else Judge.of_data(ramp.judge, rules)


def take_in(ramp: Ramp, judge: Judge, blocks: Iterable[Block]) -> None:
    """Let *judge* see what instances have counted in *blocks*, in the order of time."""
    by_number: dict[int, dict[str, Block]] = {}
    for block in blocks:
        by_number.setdefault(block.number, {})[block.instance] = block
    for number in sorted(by_number):
        found = by_number[number]
        if ramp.percent is None:
            if judge.step is None:
                judge.learn(Arm.merged(_everyone(one) for one in found.values()))
            continue
        parts = {
            name: (Arm.of(one.rows.get("treatment", {})), Arm.of(one.rows.get("control", {})))
            for name, one in sorted(found.items())
        }
        start = number * ramp.seconds
        judge.observe(statistics.Block.merged(start, ramp.seconds, parts))


def _everyone(block: Block) -> Arm:
    """Return all subjects of *block*, whatever arm they are in."""
    rows: dict[str, SubjectCounts] = {}
    for found in block.rows.values():
        for subject, counts in found.items():
            if subject in rows:
                counts.add(rows[subject])
            rows[subject] = counts
    return Arm.of(rows)


def decide(ramp: Ramp, judge: Judge, now: float) -> Ramp:
    """Return *ramp* with what follows from all that *judge* has seen until *now*."""
    if ramp.percent is None:
        return _after_learning(ramp, judge, now)
    verdict = judge.verdict()
    ramp = evolve(ramp, verdict=evidence.as_data(ramp.flag, verdict))
    if verdict.action == "roll back":
        return rolled_back(ramp, now, verdict.why)
    silent = _silent(judge, now, ramp.seconds)
    if silent and not judge.faults and (len(silent) == 2 or not verdict.loud):
        return ramp.held(now, _silence(silent), loud=True)
    if verdict.action == "hold":
        wait = statistics.duration(verdict.seconds)
        why = f"{verdict.why}; {wait} to go" if wait else verdict.why
        # Only what is wrong is an entry in the journal: how long it takes changes all the time.
        return ramp.held(now, verdict.why if verdict.loud else why, loud=verdict.loud)
    if ramp.status == "paused":
        return ramp.held(now, f"paused; {verdict.why}", loud=False)
    left = ramp.since + seconds(ramp.plan.at_least) - now
    if left > 0.0:
        why = f"{verdict.why}; the step lasts {ramp.plan.at_least} at least"
        return ramp.held(now, why, loud=False)
    return advanced(ramp, now, verdict.why)


def _silent(judge: Judge, now: float, block: float) -> Mapping[str, float]:
    """Return which arms have had no call for unusually long, with the end of their last block."""
    step = judge.step
    if step is None:
        return {}
    silent = {}
    for place, arm in enumerate(("treatment", "control")):
        heard, blocks = step.heard[place], step.heard_blocks[place]
        usual = max(QUIET * block, QUIET_AT_LEAST)
        if blocks:
            usual = max(usual, 10.0 * (heard - step.start) / blocks)
        else:
            usual += judge.rules.warm_up
        if now - heard > usual:
            silent[arm] = heard
    return silent


def _silence(silent: Mapping[str, float]) -> str:
    last = datetime.fromtimestamp(max(silent.values()), UTC)
    return f"no call of {' and '.join(silent)} has ended since {last:%Y-%m-%d %H:%M}Z"


def _after_learning(ramp: Ramp, judge: Judge, now: float) -> Ramp:
    """Return *ramp*, of whose flag there is no treatment yet, after enough time and counts."""
    plan = ramp.plan
    if ramp.status == "paused":
        return ramp.held(now, "paused", loud=False)
    long = plan.baseline if ramp.place == LEARNING else plan.at_least
    left = ramp.since + seconds(long) - now
    if judge.faults:
        return ramp.held(now, f"counts cannot be used: {judge.faults[0]}", loud=True)
    if left > 0.0:
        what = "learning what is usual" if ramp.place == LEARNING else ramp.step
        return ramp.held(now, f"{what}; {statistics.duration(left)} to go", loud=False)
    if not judge.learnt:
        why = (
            f"no call that {ramp.flag!r} concerns was counted, so nothing is known of the time "
            "before the ramp"
        )
        return ramp.held(now, why, loud=True)
    return advanced(ramp, now, "what is usual is known")


def advanced(ramp: Ramp, now: float, why: str) -> Ramp:
    """Return *ramp* with the intent to take its next step; *why* stands in the journal."""
    if not ramp.next_step:
        done = evolve(ramp, status="done", hold="", loud=False)
        return done.noted(now, "done", f"it stays at {ramp.step}; {why}", evidence=True)
    to = ramp.next_step
    changed = evolve(
        ramp, place=ramp.place + 1, since=now, hold="", loud=False, intent=_set(ramp, to)
    )
    return changed.noted(now, "step", f"{to}: {why}", evidence=True)


def _set(ramp: Ramp, step: str) -> Intent:
    by = "" if ramp.plan.by == "subject" or percent_of(step) is None else f" by {ramp.plan.by}"
    return Intent("set", step + by)


def impossible(ramp: Ramp, now: float, why: str) -> Ramp:
    """Return *ramp*, whose flag cannot be set as intended because of *why*.

    A layer that cannot shadow goes on without that step.
    """
    if ramp.step == "shadow" and ramp.intent == Intent("set", "shadow") and not ramp.ended:
        return advanced(evolve(ramp, intent=None), now, f"without shadow: {why}")
    assert ramp.intent is not None
    return ramp.held(now, f"the flag cannot be set to {ramp.intent.to}: {why}", loud=True)


def begun(ramp: Ramp, now: float) -> Ramp:
    """Return *ramp*, whose flag was set as intended, in its step from *now* on."""
    if ramp.ended:
        return evolve(ramp, intent=None)
    share = ramp.percent
    if share is not None:
        judge = judge_of(ramp)
        to = percent_of(ramp.next_step) if ramp.next_step else share
        judge.begin(share, 100.0 if to is None else to, now)
        ramp = evolve(ramp, judge=judge.as_data(), next_block=int(now // ramp.seconds) + 1)
    ramp = evolve(ramp, intent=None, since=now, verdict={} if share is not None else ramp.verdict)
    if ramp.step == "on":
        return evolve(ramp, status="done").noted(now, "done", "on for all")
    return ramp


def begun_again(ramp: Ramp, judge: Judge, ready: int, now: float) -> Ramp:
    """Return *ramp* after clocks were put back: its step begins anew with block *ready* + 1.

    Blocks are numbered by the clock, so those to come would pass for old ones until it has caught
    up. What was checked for wrong answers stays known.
    """
    if judge.step is not None:
        judge.begin(judge.step.percent, judge.step.to, (ready + 1) * ramp.seconds)
        ramp = evolve(ramp, judge=judge.as_data(), verdict={})
    again = evolve(ramp, next_block=ready + 1, since=now)
    return again.noted(now, "clock", "clocks were put back: the step begins anew")


def rolled_back(ramp: Ramp, now: float, why: str) -> Ramp:
    """Return *ramp*, rolled back because of *why*."""
    text = f"by the judge at {ramp.step or 'off'}: {why}"
    changed = evolve(
        ramp, status="rolled back", hold="", loud=False, intent=Intent("roll back", text)
    )
    return changed.noted(now, "rolled back", why, evidence=True)


def slow_of(ramp: Ramp, counts: Sequence[Counts]) -> Mapping[str, tuple[float, float]]:
    """Return what is slow, by operation: the 95th and 99th percentile without the layer.

    What is known already stays, so that a ramp is measured by the same thresholds throughout.
    """
    known = dict(ramp.slow)
    without = (one for one in counts if dict(one.arms).get(ramp.flag) != "treatment")
    for one in total(without, by_arm=False):
        if one.operation in known or one.latency.count < ENOUGH_CALLS:
            continue
        shares = [one.percentile(p) or one.latency.quantile(p) or 0.0 for p in (0.95, 0.99)]
        known[one.operation] = (shares[0], shares[1])
    return known
