"""How the percentiles of latency have changed, from the counters of the fleet.

No verdict comes from them: counters begin when an instance starts, and include the steps before.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from argo_mw.plugin import Counts
from argo_mw_rollout.statistics import words
from argo_mw_rollout.statistics.percentiles import percentile_change

_SHARES: Final = (("p95", 0.95), ("p99", 0.99))


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
