"""The fixed time to live that makes as many fetches as a policy did."""

from __future__ import annotations

from collections.abc import Sequence

PRECISION = 0.002
ROUNDS = 24


def count(reads: Sequence[float], ttl: float) -> int:
    """How many of *reads*, in epoch seconds, fetch when an answer lives *ttl* seconds."""
    fetches = 0
    expires = float("-inf")
    for at in reads:
        if at >= expires:
            fetches += 1
            expires = at + ttl
    return fetches


def fit(runs: Sequence[Sequence[Sequence[float]]], fetches: float) -> float:
    """The time to live in seconds with which runs make *fetches* in the mean.

    A run is a list of segments, a segment a list of reads; all share the time to live.
    """
    low, high = 1.0, 6 * 3600.0
    ttl = low
    for _ in range(ROUNDS):
        ttl = (low * high) ** 0.5
        made = sum(count(reads, ttl) for run in runs for reads in run) / len(runs)
        if abs(made - fetches) <= PRECISION * fetches:
            break
        if made > fetches:
            low = ttl
        else:
            high = ttl
    return ttl
