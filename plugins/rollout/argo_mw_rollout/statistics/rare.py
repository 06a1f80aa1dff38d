"""Rare harm: answers that were checked and found wrong, judged without normal distributions.

Where one answer in a thousand is wrong, and two hundred were checked, no mean is normally
distributed. What can be said exactly is how much likelier the number of wrong answers is if the
layer does harm than if it does none. Averaged over several sizes of harm, this ratio is an
e-process: while there is no harm, the probability that it ever exceeds 1/a is at most a (Ville's
inequality), whenever one looks.

What share is wrong without the layer is taken from the control arm and the time before the ramp.
"""

from __future__ import annotations

from math import e, inf, lgamma, log, log1p, pi

from attrs import frozen

from argo_mw_rollout.statistics.sequence import log_threshold

_HARMS = (0.01, 0.02, 0.05, 0.1, 0.3)
"""Sizes of harm that are looked for, as shares of wrong answers beyond the margin."""

MOST_USUAL = 0.2
"""The share of wrong answers up to which more of them can be told from what is usual."""

_LEAST = 1e-9


@frozen
class Checked:
    """How many answers were checked, and how many of them were wrong.

    A subject counts once in a block of time, however often the same wrong answer was found there.

    Attributes:
        right: The right ones.
        wrong: The wrong ones.
    """

    right: float = 0.0
    wrong: float = 0.0

    @property
    def total(self) -> float:
        """How many were checked."""
        return self.right + self.wrong

    @property
    def share(self) -> float:
        """The share that was wrong, or 0 where none was checked."""
        return self.wrong / self.total if self.total else 0.0

    def plus(self, other: Checked) -> Checked:
        """Return both together."""
        return Checked(self.right + other.right, self.wrong + other.wrong)


def usual_share(control: Checked, before: Checked) -> float:
    """Return the share of answers that is wrong without the layer, cautiously.

    It is that of control and of the time before together, as if one more had been wrong; or that of
    control alone, if that is larger: then something makes answers wrong for everyone.
    """
    both = control.plus(before)
    return max((both.wrong + 1.0) / (both.total + 1.0), control.share)


def evidence_of_harm(treatment: Checked, control: Checked, before: Checked, margin: float) -> float:
    """Return the logarithm of the evidence that treatment's share is beyond *margin*.

    Where more than :data:`MOST_USUAL` are wrong without the layer, or so little is known that they
    may be, there is none.
    """
    usual = usual_share(control, before)
    if usual > MOST_USUAL:
        return -inf
    limit = usual + margin
    return _log_mean([_log_ratio(treatment, limit + harm, limit) for harm in _HARMS])


def evidence_of_safety(
    treatment: Checked, control: Checked, before: Checked, limit: float
) -> float:
    """Return the logarithm of the evidence that treatment's share is not beyond *limit*."""
    usual = control.plus(before).share
    harmful = usual + limit
    kinds = (usual, usual + limit / 4, usual + limit / 2)
    return _log_mean([_log_ratio(treatment, share, harmful) for share in kinds])


def checks_needed(usual: float, limit: float, alpha: float) -> float:
    """Return about how many right answers in a row show that the share is not beyond *limit*."""
    return (log_threshold(alpha) + log(3.0)) / -log1p(-min(usual + limit, 0.99))


def _log_ratio(seen: Checked, share: float, limit: float) -> float:
    """Return how much likelier *seen* is with *share* wrong than with *limit*, as a logarithm."""
    share, limit = min(share, 1.0 - _LEAST), min(limit, 1.0 - _LEAST)
    if share <= 0.0 and seen.wrong:
        return -inf
    wrong = seen.wrong * (log(max(share, _LEAST)) - log(limit)) if seen.wrong else 0.0
    return wrong + seen.right * (log1p(-share) - log1p(-limit))


def _log_mean(logarithms: list[float]) -> float:
    """Return the logarithm of the mean of what *logarithms* are of."""
    top = max(logarithms)
    if top == -inf:
        return -inf
    mean = sum(e ** (one - top) for one in logarithms) / len(logarithms)
    return top + log(mean)


def bounds(seen: Checked, alpha: float) -> tuple[float, float]:
    """Return the shares that *seen* leaves open, at any look, with *alpha* for each side.

    They are those against which a beta mixture has not yet the evidence.
    """
    needed = log_threshold(alpha)
    if not seen.total:
        return 0.0, 1.0
    mixed = lgamma(seen.wrong + 0.5) + lgamma(seen.right + 0.5) - lgamma(seen.total + 1.0) - log(pi)

    def ruled_out(share: float) -> bool:
        likelihood = seen.wrong * log(share) + seen.right * log1p(-share)
        return mixed - likelihood >= needed

    def search(inside: float, outside: float) -> float:
        for _ in range(50):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if ruled_out(middle) else (middle, outside)
        return inside

    likeliest = min(max(seen.share, _LEAST), 1.0 - _LEAST)
    low = 0.0 if not seen.wrong else search(likeliest, _LEAST)
    high = 1.0 if not seen.right else search(likeliest, 1.0 - _LEAST)
    return low, high
