"""The report says how percentiles have changed."""

from __future__ import annotations

import json
import random

from argo_mw.plugin import Counts, InstanceCounts
from argo_mw_rollout.latency import MOST_INSTANCES, beside, percentiles, since
from argo_mw_rollout.latency import counted as counted_until


def counted(arm: str, factor: float, operation: str = "quote", calls: int = 4_000) -> Counts:
    counts = Counts(operation, (("race", arm),))
    dice = random.Random(1)
    for _ in range(calls):
        counts.latency.add(factor * dice.lognormvariate(-3.0, 0.5))
    return counts


def test_a_percentile_that_has_changed_is_said_with_its_interval() -> None:
    found = percentiles("race", [counted("treatment", 0.5), counted("control", 1.0)])

    assert len(found) == 2
    assert found[0].startswith("p95 −50 % (−")
    assert found[1].startswith("p99 −50 % (−")


def test_each_of_several_operations_is_named() -> None:
    both = [counted(arm, f, op) for op in ("bars", "news") for arm, f in ARMS]

    assert [one.split(" −")[0] for one in percentiles("race", both)] == [
        "p95 of bars",
        "p95 of news",
        "p99 of bars",
        "p99 of news",
    ]


ARMS = (("treatment", 0.5), ("control", 1.0))


def test_what_is_the_same_or_unknown_is_not_said() -> None:
    assert [] == percentiles("race", [counted("treatment", 1.0), counted("control", 1.0)])
    assert [] == percentiles("race", [counted("treatment", 0.5)])
    assert [] == percentiles("race", [counted(arm, f, calls=20) for arm, f in ARMS])
    assert [] == percentiles("other", [counted(arm, f) for arm, f in ARMS])


def instance(name: str, *counts: Counts) -> InstanceCounts:
    return InstanceCounts(name, "here", "", 0.0, 0.0, counts)


def test_what_was_counted_before_the_step_is_taken_off() -> None:
    earlier = [counted("treatment", 9.0), counted("control", 1.0)]
    before = json.loads(json.dumps(counted_until("race", [instance("old", *earlier)])))
    for one in earlier:
        one.add(counted(dict(one.arms)["race"], 0.5 if one is earlier[0] else 1.0))
    now = [instance("old", *earlier), instance("new", *(counted(arm, f) for arm, f in ARMS))]

    found = percentiles("race", since("race", now, before))

    assert [one[:11] for one in found] == ["p95 −50 % (", "p99 −50 % ("]
    assert [one.latency.count for one in since("race", now, before)] == [4_000] * 4


def test_where_it_is_not_known_what_was_counted_before_nothing_is_said() -> None:
    many = [instance(str(n)) for n in range(MOST_INSTANCES + 1)]

    assert counted_until("race", many) is None
    assert since("race", many, None) == []


def test_percentiles_stand_before_the_other_changes() -> None:
    p99 = "p99 −38 % (−45 to −31)"

    assert f"race at 25 %: {p99}, no other change" == beside("race at 25 %: no change", [p99])
    assert f"race at 25 %: {p99}, requests +4 %, no other change" == beside(
        "race at 25 %: requests +4 %, no other change", [p99]
    )
    assert "race at 25 %: no change" == beside("race at 25 %: no change", [])
