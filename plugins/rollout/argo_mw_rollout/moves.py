"""What a ramp moves elsewhere: requests to other upstreams, and calls out of shared requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from argo_mw.plugin import Counts

_LEAST_CALLS: Final = 50
_LEAST_SHARE: Final = 0.05


def moved(flag: str, counts: Iterable[Counts]) -> list[str]:
    """Return which requests go elsewhere in the treatment of *flag*, one line for each operation.

    For each upstream the share of an arm's loads that it was asked for is compared, and how many
    calls shared a request there: a layer that asks others, one by one, may cost more requests in
    one place and fewer in another.
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
        if abs(shares[0] - shares[1]) >= _LEAST_SHARE:
            sizes = [_calls_of_a_request(one, upstream) for one in (treatment, control)]
            lines.append(
                f"{operation}: {upstream} is asked for {shares[0]:.0%} of treatment's loads and "
                f"{shares[1]:.0%} of control's; a request there answers {sizes[0]} and {sizes[1]}"
            )
    return lines


def _calls_of_a_request(counts: Counts, upstream: str) -> str:
    requests = counts.requests_to.get(upstream, 0.0)
    if not requests:
        return "none"
    calls = counts.asked.get(upstream, 0) / requests
    return f"{calls:.1f} calls" if calls >= 1.05 else "1 call"
