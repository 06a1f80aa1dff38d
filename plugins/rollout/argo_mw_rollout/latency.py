"""How the percentiles of latency have changed in a step, from the counters of the fleet.

No verdict comes from them. Counters begin when an instance starts, so what they were when the step
began is kept and taken off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, cast

from argo_mw.plugin import Counts, InstanceCounts
from argo_mw_rollout.statistics import words
from argo_mw_rollout.statistics.percentiles import percentile_change

_Earlier = tuple[str, str, int, int, Sequence[Sequence[int]]]
_SHARES: Final = (("p95", 0.95), ("p99", 0.99))


MOST_INSTANCES: Final = 200
"""Instances whose counters at the beginning of a step are kept, at most."""


def counted(flag: str, instances: Sequence[InstanceCounts]) -> Mapping[str, object] | None:
    """Return what was counted until now in the arms of *flag*, as plain data, by instance.

    ``None`` where there are too many instances.
    """
    if len(instances) > MOST_INSTANCES:
        return None
    return {
        one.instance: [
            [operation, arm, sums.at_hand, sums.latency.zeros, sorted(sums.latency.buckets.items())]
            for (operation, arm), sums in _by_arm(flag, one.counts).items()
        ]
        for one in instances
    }


def since(
    flag: str, instances: Iterable[InstanceCounts], before: Mapping[str, object] | None
) -> list[Counts]:
    """Return what was counted in the arms of *flag* since it was *before*.

    Args:
        flag: The flag.
        instances: What each instance has counted until now.
        before: What :func:`counted` returned then.
    """
    if before is None:
        return []
    found: list[Counts] = []
    for one in instances:
        sums = _by_arm(flag, one.counts)
        for entry in cast("Iterable[_Earlier]", before.get(one.instance, ())):
            operation, arm, at_hand, zeros, buckets = entry
            if (operation, arm) in sums:
                _take_off(sums[operation, arm], at_hand, zeros, buckets)
        found += sums.values()
    return found


def _by_arm(flag: str, counts: Iterable[Counts]) -> dict[tuple[str, str], Counts]:
    sums: dict[tuple[str, str], Counts] = {}
    for one in counts:
        arm = dict(one.arms).get(flag, "")
        if arm:
            at = one.operation, arm
            sums.setdefault(at, Counts(one.operation, ((flag, arm),))).add(one)
    return sums


def _take_off(counts: Counts, at_hand: int, zeros: int, buckets: Iterable[Sequence[int]]) -> None:
    counts.at_hand -= at_hand
    counts.latency.zeros -= zeros
    for index, number in buckets:
        counts.latency.buckets[index] -= number


def percentiles(flag: str, counts: Iterable[Counts]) -> list[str]:
    """Return which percentiles have certainly changed in the treatment of *flag*, in words."""
    arms: dict[str, dict[str, Counts]] = {}
    for one in counts:
        arm = dict(one.arms).get(flag, "")
        if arm:
            sums = arms.setdefault(one.operation, {})
            sums.setdefault(arm, Counts(one.operation)).add(one)
    both = {name: sums for name, sums in sorted(arms.items()) if len(sums) == 2}
    found = []
    for name, share in _SHARES:
        for operation, sums in both.items():
            one, two = sums["treatment"], sums["control"]
            calls = (one.latency.count + one.at_hand, two.latency.count + two.at_hand)
            change = percentile_change(one.percentile, two.percentile, calls, share)
            if change is not None and (change[1] > 0.0 or change[2] < 0.0):
                what = name if len(both) == 1 else f"{name} of {operation}"
                found.append(words.percentile(what, change))
    return found


def beside(text: str, changes: Iterable[str]) -> str:
    """Return *text*, the report of a ramp in one line, with *changes* before the others."""
    head, colon, rest = text.partition(": ")
    parts = [*changes]
    if not colon or not parts:
        return text
    rest = "no other change" + rest.removeprefix("no change") if rest.startswith("no ch") else rest
    return f"{head}: {', '.join([*parts, rest])}"
