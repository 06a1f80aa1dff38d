"""What a ramp moves: requests to other upstreams, and calls out of shared requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from argo_mw.counters.counts import Counts

_LEAST_CALLS: Final = 50
_LEAST_SHARE: Final = 0.05
_LEAST_RATIO: Final = 1.5


def moved(flag: str, counts: Iterable[Counts]) -> list[str]:
    """Return which requests go elsewhere in the treatment of *flag*, in lines for people.

    For each upstream the share of an arm's loads that it was asked for is compared, and how many
    calls shared a request there: a layer that asks others, one by one, may cost more requests in
    one place and fewer in another.

    Args:
        flag: The flag.
        counts: What instances have counted, of all arms.
    """
    arms: dict[str, dict[str, Counts]] = {}
    for one in counts:
        arm = dict(one.arms).get(flag, "")
        if arm:
            sums = arms.setdefault(one.operation, {})
            sums.setdefault(arm, Counts(one.operation)).add(one)
    found = []
    for operation, sums in sorted(arms.items()):
        if len(sums) == 2:  # treatment and control
            found += _moved(operation, sums["treatment"], sums["control"])
    return found


def _moved(operation: str, treatment: Counts, control: Counts) -> list[str]:
    asked = [sum(one.asked.values()) for one in (treatment, control)]
    if min(asked) < _LEAST_CALLS:
        return []
    lines = []
    for upstream in sorted(treatment.asked.keys() | control.asked.keys()):
        shares = [
            one.asked.get(upstream, 0) / total
            for one, total in zip((treatment, control), asked, strict=True)
        ]
        sizes = [_calls_of_a_request(one, upstream) for one in (treatment, control)]
        elsewhere = abs(shares[0] - shares[1]) >= _LEAST_SHARE
        apart = min(shares) > 0.0 and max(sizes) >= _LEAST_RATIO * min(sizes)
        if elsewhere or apart:
            lines.append(
                f"{operation}: {upstream} is asked for {shares[0]:.0%} of treatment's loads and "
                f"{shares[1]:.0%} of control's; a request there answers {_calls(sizes[0])} "
                f"and {_calls(sizes[1])}"
            )
    return lines


def _calls_of_a_request(counts: Counts, upstream: str) -> float:
    requests = counts.requests_to.get(upstream, 0.0)
    return counts.asked.get(upstream, 0) / requests if requests else 0.0


def _calls(number: float) -> str:
    if number == 0.0:
        return "none"
    return f"{number:.1f} calls" if number >= 1.05 else "1 call"
