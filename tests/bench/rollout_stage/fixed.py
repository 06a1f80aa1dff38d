"""The test that detections are compared with: of a size fixed beforehand, knowing every variance.

It looks once, when enough calls for a power of 0.95 are there, at the same error probability and
margin as the judge gives to the metric. Calls are independent for it, and rates known.
"""

from __future__ import annotations

from math import ceil

from scipy.stats import binom, norm

from argo_mw_rollout.statistics import Rules
from tests.bench.rollout_stage import service

POWER = 0.95


def calls_needed(metric: str, size: float, rules: Rules, percent: float) -> float:
    """Return the calls of the whole service that the test needs at *percent* treatment.

    Args:
        metric: The metric.
        size: The harm: a difference of shares for ``errors`` and ``wrong``, a part for the others.
        rules: The rules, for the error probability and the margin.
        percent: The share of treatment, and of control.
    """
    alpha, margin = rules.alpha_of(metric) / rules.steps, rules.guarded[metric].margin
    quantiles = (norm.isf(alpha) + norm.isf(1 - POWER)) ** 2
    arm = percent / 100.0
    if metric == "wrong":
        audits = service.AUDITED * service.AUDITED_IN_TREATMENT
        return _checks(size, margin, alpha) / audits
    if metric == "distance":
        audits = service.AUDITED * service.AUDITED_IN_TREATMENT
        rest = service.AUDITED - audits
        variation = service.DISTANCE_VARIATION**2
        variance = variation * ((1 + size) ** 2 / audits + 1 / rest)
        return quantiles * variance / (size - margin) ** 2
    if metric == "errors":
        one, two = service.ERRORS + size, service.ERRORS
        variance = one * (1 - one) + two * (1 - two)
    elif metric == "usd":
        variation = (1 + service.USD_VARIATION**2) / service.REQUESTS - 1
        variance = variation * ((1 + size) ** 2 + 1)
    else:
        base = 0.05 if metric == "slow" else 0.01
        one = base * (1 + size)
        variance = (one * (1 - one) + base * (1 - base)) / base**2
    return quantiles * variance / (size - margin) ** 2 / arm


def _checks(size: float, margin: float, alpha: float) -> int:
    """Return how many checked answers the exact test of a known share needs."""
    usual = service.WRONG + margin
    for number in range(1, 100_000):
        critical = int(binom.isf(alpha, number, usual)) + 1
        if binom.sf(critical - 1, number, service.WRONG + size) >= POWER:
            return ceil(number)
    msg = f"no number of checks tells {size} from {usual}"
    raise ValueError(msg)
