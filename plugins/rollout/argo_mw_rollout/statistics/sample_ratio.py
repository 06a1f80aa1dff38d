"""Whether the arms have as many subjects as they should: sample-ratio mismatch, sequentially.

Each new subject falls into treatment or control with the probabilities of their shares. The test
is the Dirichlet-multinomial mixture of Lindon and Malek, "Anytime-valid inference for multinomial
count data" (2022), here with two arms: how much likelier the counts are with some other
probability, taken from a beta distribution around the right one, than with the right one.
Subjects are counted, not
calls: a few of them may ask most.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import lgamma, log

from attrs import frozen

ALPHA = 0.001
"""The probability that arms of the right sizes are ever taken for a mismatch."""

CONCENTRATION = 20.0
"""How close to the right one other probabilities are looked for; as if so many had been seen."""

_FEW = 5


@frozen
class Mismatch:
    """Arms whose sizes are not what the flag's share makes them.

    Attributes:
        treatment: Subjects in treatment.
        control: Subjects in control.
        expected: The share of them that should be in treatment.
        cause: What it comes from, as far as can be seen.
    """

    treatment: int
    control: int
    expected: float
    cause: str


def expected_share(percent: float) -> float:
    """Return the share of all subjects in the arms that is in treatment, at *percent*."""
    control = min(percent, 100.0 - percent)
    return percent / (percent + control)


def evidence(treatment: int, control: int, expected: float) -> float:
    """Return the logarithm of the evidence that arms of these sizes are no chance.

    Args:
        treatment: Subjects in treatment.
        control: Subjects in control.
        expected: The probability with which a subject is in treatment.
    """
    one, two = CONCENTRATION * expected, CONCENTRATION * (1.0 - expected)
    mixed = _log_beta(one + treatment, two + control) - _log_beta(one, two)
    return mixed - treatment * log(expected) - control * log(1.0 - expected)


def mismatch(
    treatment: int,
    control: int,
    percent: float,
    *,
    both: tuple[str, ...] = (),
    sources: Mapping[str, tuple[int, int]] | None = None,
) -> Mismatch | None:
    """Return what is wrong with the sizes of the arms, or ``None`` when nothing is.

    Args:
        treatment: Subjects in treatment.
        control: Subjects in control.
        percent: The flag's share in percent, above 0 and below 100.
        both: Subjects that were seen in both arms.
        sources: How many subjects of each arm an instance was the first to see, by instance.
    """
    expected = expected_share(percent)
    unequal = evidence(treatment, control, expected) >= -log(ALPHA)
    if not unequal and len(both) <= _tolerated(treatment + control):
        return None
    return Mismatch(
        treatment, control, expected, _cause(treatment, control, expected, both, sources or {})
    )


def _cause(
    treatment: int,
    control: int,
    expected: float,
    both: tuple[str, ...],
    sources: Mapping[str, tuple[int, int]],
) -> str:
    if len(both) > _tolerated(treatment + control):
        some = ", ".join(both[:3])
        return (
            f"{len(both)} subjects were seen in both arms ({some}): instances decide by different "
            "shares, or the share was changed by another way than the plan"
        )
    if not treatment or not control:
        absent = "treatment" if not treatment else "control"
        return f"no call was ever in {absent}: an override above the flag decides"
    found = {name: evidence(*sizes, expected) for name, sizes in sources.items()}
    name = max(found, key=lambda one: found[one], default="")
    if name and len(sources) > 1 and found[name] >= -log(ALPHA):
        one, two = sources[name]
        return (
            f"instance {name} brings it ({one} to {two}): compare its settings and environment "
            "with the others'"
        )
    few = "treatment" if treatment < expected * (treatment + control) else "control"
    return (
        f"subjects of {few} are missing everywhere: single subjects are set by hand, or their "
        "calls end before they are counted"
    )


def _tolerated(subjects: int) -> int:
    """Return how many subjects may be in both arms: those asked while a share was changing."""
    return max(_FEW, subjects // 100)


def _log_beta(one: float, two: float) -> float:
    return lgamma(one) + lgamma(two) - lgamma(one + two)
