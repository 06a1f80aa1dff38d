"""Figures: what was seen, in numbers, and how all layers do against the original service."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from attrs import asdict, frozen

from argo_mw.plugin import ConfigError
from argo_mw_compare.trial import Asked, Seen
from argo_mw_compare.workload import PRICES

MOST_CPU = 5.0
"""Percent of the time of misses that our CPU may take before latencies are not the vendors'."""
_FREE = (0.0, 0.0, 0.0)


@frozen
class Figures:
    """One column of the table; ``None`` where nothing was measured.

    Attributes:
        variant: What was tried.
        signals: Signals asked for.
        failed: Those without an answer.
        p50_ms: Median replayed milliseconds of all signals; p95 and p99 likewise.
        p50_miss_ms: Median of those that had to ask an upstream; p95 and p99 likewise.
        requests: Requests that the sandbox received.
        requests_told: Requests that we say we sent.
        loads: Symbols asked for in them, and prompts, as the sandbox counted them.
        questions: Calls that these requests answered, as we count them; what is asked twice in
            one request is one load.
        usd: What models cost, from the sandbox's counts of tokens; an answer that was cancelled
            on its way counts as much as the mean of those that came.
        hit_rate: The share of answered signals for which no upstream had to be asked.
        write_ms: Median real milliseconds of a row's write on the caller's way; ``None`` where
            nobody waits for it.
        query_ms: Mean real milliseconds of a question for a symbol's last ten signals.
        query_p99_ms: The 99th percentile of the same.
        error_bp: Root mean square error of the prices used, in basis points.
        cpu_pct: Our CPU time in rounds that asked an upstream, as a share of their real time.
        seconds: Real seconds of the trial.
    """

    variant: str
    signals: int
    failed: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p50_miss_ms: float | None
    p95_miss_ms: float | None
    p99_miss_ms: float | None
    requests: int
    requests_told: int
    loads: int
    questions: int
    usd: float
    hit_rate: float | None
    write_ms: float | None
    query_ms: float | None
    query_p99_ms: float | None
    error_bp: float | None
    cpu_pct: float | None
    seconds: float

    @property
    def distorted(self) -> bool:
        """Whether our CPU time was so large that the latencies are not the vendors'."""
        return self.cpu_pct is not None and self.cpu_pct > MOST_CPU

    def as_dict(self) -> dict[str, object]:
        """As plain data."""
        return asdict(self)


def figures(seen: Seen) -> Figures:
    """*seen* in numbers."""
    all_ms = [1000 * one.seconds for one in seen.asked if not one.error]
    miss_ms = [1000 * one.seconds for one in seen.asked if one.missed and not one.error]
    return Figures(
        variant=seen.variant.name,
        signals=len(seen.asked),
        failed=sum(bool(one.error) for one in seen.asked),
        p50_ms=percentile(all_ms, 50),
        p95_ms=percentile(all_ms, 95),
        p99_ms=percentile(all_ms, 99),
        p50_miss_ms=percentile(miss_ms, 50),
        p95_miss_ms=percentile(miss_ms, 95),
        p99_miss_ms=percentile(miss_ms, 99),
        requests=sum(_number(one["requests"]) for one in seen.counts.values()),
        requests_told=seen.requests,
        loads=sum(_symbols(one) for one in seen.counts.values()),
        questions=seen.questions,
        usd=math.fsum(usd(PRICES.get(name, _FREE), one) for name, one in seen.counts.items()),
        hit_rate=1 - len(miss_ms) / len(all_ms) if all_ms else None,
        write_ms=percentile([1000 * one for one in seen.writes], 50),
        query_ms=1000 * math.fsum(seen.queries) / len(seen.queries) if seen.queries else None,
        query_p99_ms=percentile([1000 * one for one in seen.queries], 99),
        error_bp=error_bp(seen.asked),
        cpu_pct=100 * seen.cpu / seen.waited if seen.waited else None,
        seconds=seen.seconds,
    )


Ratios = dict[str, float | None]


def ratios(before: Figures, after: Figures) -> Ratios:
    """All layers against the original service; below 1 is better, but for the hit rate."""
    return {
        "p50_miss_ratio": _ratio(after.p50_miss_ms, before.p50_miss_ms),
        "p50_ratio": _ratio(after.p50_ms, before.p50_ms),
        "p99_ratio": _ratio(after.p99_ms, before.p99_ms),
        "calls_ratio": _ratio(after.requests, before.requests),
        "loads_ratio": _ratio(after.loads, before.loads),
        "usd_ratio": _ratio(after.usd, before.usd),
        "hit_rate": None if after.hit_rate is None else round(after.hit_rate, 4),
        "query_ratio": _ratio(after.query_ms, before.query_ms),
        "error_bp_ratio": _ratio(after.error_bp, before.error_bp),
    }


def original_and_all(columns: Sequence[Figures]) -> tuple[Figures, Figures]:
    """The two that are compared in the end.

    Raises:
        ConfigError: One of them was left out.
    """
    named = {one.variant: one for one in columns}
    lacking = [name for name in ("before", "all") if name not in named]
    if lacking:
        msg = f"there is nothing to compare: {' and '.join(lacking)} left out, as told above"
        raise ConfigError(msg)
    return named["before"], named["all"]


def medians(seeds: Sequence[Ratios]) -> dict[str, float | list[float | None] | None]:
    """The median of every ratio over the seeds, and each seed's own beside it."""
    told: dict[str, float | list[float | None] | None] = {}
    for name in seeds[0]:
        values = [one[name] for one in seeds]
        known = [value for value in values if value is not None]
        told[name] = round(statistics.median(known), 4) if known else None
        told[f"{name}_by_seed"] = values
    return told


def usd(price: tuple[float, float, float], counts: Mapping[str, object]) -> float:
    """What one provider's answers cost.

    Args:
        price: USD per million tokens in, out, and read from the provider's own cache.
        counts: What the sandbox says of the provider.
    """
    told = counts.get("tokens")
    tokens = told if isinstance(told, Mapping) else {}
    kinds = ("input", "output", "cache_read")
    completed = sum(p * _number(tokens.get(kind)) for p, kind in zip(price, kinds, strict=True))
    answered, left = _number(counts.get("answered")), _number(counts.get("disconnects"))
    return completed / 1e6 * (1 + left / answered if answered else 1.0)


def error_bp(asked: Sequence[Asked]) -> float | None:
    """Root mean square of how far the prices used were from the replayed ones."""
    squares = [
        (10_000 * (one.price / one.truth - 1)) ** 2
        for one in asked
        if one.price is not None and one.truth
    ]
    return math.sqrt(math.fsum(squares) / len(squares)) if squares else None


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The nearest-rank percentile, or ``None`` of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def _symbols(counts: Mapping[str, object]) -> int:
    told = counts.get("symbols")
    return sum(map(_number, told.values())) if isinstance(told, Mapping) else 0


def _ratio(after: float | None, before: float | None) -> float | None:
    return None if after is None or not before else round(after / before, 4)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
