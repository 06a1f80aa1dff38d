"""Figures: observations in numbers, and all layers against the baseline."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from attrs import asdict, frozen

from argo_mw.plugin import ConfigError
from argo_mw_compare.experiment import AskedSignal, Observations
from argo_mw_compare.workload import PRICES

MAX_CPU_PCT = 5.0
"""Percent of the time of misses that our CPU may take before it distorts latencies."""
_FREE = (0.0, 0.0, 0.0)


@frozen
class Figures:
    """One column of the table; ``None`` where nothing was measured.

    Attributes:
        variant: The variant that ran.
        signals: Signals asked for.
        failed: Those without an answer.
        p50_ms: Median replayed milliseconds of all signals; p95 and p99 likewise.
        p50_miss_ms: Median of those that asked an upstream; p95 and p99 likewise.
        requests: Requests that the sandbox received.
        requests_sent: Requests that our events say were sent.
        loads: Symbols asked for in them, and prompts, as the sandbox counted them.
        calls_sent: Calls that these requests were sent for, by our events; what is asked twice
            in one request is one load.
        usd: What models cost, from the sandbox's counts of tokens; an answer that was cancelled
            on its way counts as much as the mean of the others.
        hit_rate: The share of answered signals for which no upstream had to be asked.
        write_ms: Median real milliseconds of a row's write that a caller waits for; ``None`` where
            none waits.
        query_ms: Mean real milliseconds of a question for a symbol's last ten signals.
        query_p99_ms: The 99th percentile of the same.
        error_bp: Root mean square error of the prices used, in basis points.
        cpu_pct: Our CPU time in rounds that asked an upstream, as a share of their real time.
        seconds: Real seconds of the experiment.
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
    requests_sent: int
    loads: int
    calls_sent: int
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
        """Whether our CPU time distorts the latencies."""
        return self.cpu_pct is not None and self.cpu_pct > MAX_CPU_PCT

    def as_dict(self) -> dict[str, object]:
        """Return it as plain data."""
        return asdict(self)


def figures(observed: Observations) -> Figures:
    """Return *observed* in numbers."""
    all_ms = [1000 * one.seconds for one in observed.asked if not one.error]
    miss_ms = [1000 * one.seconds for one in observed.asked if one.missed and not one.error]
    return Figures(
        variant=observed.variant.name,
        signals=len(observed.asked),
        failed=sum(bool(one.error) for one in observed.asked),
        p50_ms=percentile(all_ms, 50),
        p95_ms=percentile(all_ms, 95),
        p99_ms=percentile(all_ms, 99),
        p50_miss_ms=percentile(miss_ms, 50),
        p95_miss_ms=percentile(miss_ms, 95),
        p99_miss_ms=percentile(miss_ms, 99),
        requests=sum(_number(one["requests"]) for one in observed.counts.values()),
        requests_sent=observed.requests,
        loads=sum(_symbols(one) for one in observed.counts.values()),
        calls_sent=observed.calls_sent,
        usd=math.fsum(usd(PRICES.get(name, _FREE), one) for name, one in observed.counts.items()),
        hit_rate=1 - len(miss_ms) / len(all_ms) if all_ms else None,
        write_ms=percentile([1000 * one for one in observed.writes], 50),
        query_ms=1000 * math.fsum(observed.queries) / len(observed.queries)
        if observed.queries
        else None,
        query_p99_ms=percentile([1000 * one for one in observed.queries], 99),
        error_bp=error_bp(observed.asked),
        cpu_pct=100 * observed.cpu / observed.waited if observed.waited else None,
        seconds=observed.seconds,
    )


Ratios = dict[str, float | None]


def ratios(baseline: Figures, after: Figures) -> Ratios:
    """Return all layers over the baseline; below 1 is better, but for the hit rate."""
    return {
        "p50_miss_ratio": _ratio(after.p50_miss_ms, baseline.p50_miss_ms),
        "p50_ratio": _ratio(after.p50_ms, baseline.p50_ms),
        "p99_ratio": _ratio(after.p99_ms, baseline.p99_ms),
        "calls_ratio": _ratio(after.requests, baseline.requests),
        "loads_ratio": _ratio(after.loads, baseline.loads),
        "usd_ratio": _ratio(after.usd, baseline.usd),
        "hit_rate": None if after.hit_rate is None else round(after.hit_rate, 4),
        "query_ratio": _ratio(after.query_ms, baseline.query_ms),
        "error_bp_ratio": _ratio(after.error_bp, baseline.error_bp),
    }


def baseline_and_all(columns: Sequence[Figures]) -> tuple[Figures, Figures]:
    """Return the figures of the baseline and of all layers.

    Raises:
        ConfigError: One of them was left out.
    """
    named = {one.variant: one for one in columns}
    lacking = [name for name in ("baseline", "all") if name not in named]
    if lacking:
        msg = f"there is nothing to compare: {' and '.join(lacking)} left out, for the reason above"
        raise ConfigError(msg)
    return named["baseline"], named["all"]


def medians(seeds: Sequence[Ratios]) -> dict[str, float | list[float | None] | None]:
    """Return the median of every ratio over the seeds, and each seed's own beside it."""
    found: dict[str, float | list[float | None] | None] = {}
    for name in seeds[0]:
        values = [one[name] for one in seeds]
        known = [value for value in values if value is not None]
        found[name] = round(statistics.median(known), 4) if known else None
        found[f"{name}_by_seed"] = values
    return found


def usd(price: tuple[float, float, float], counts: Mapping[str, object]) -> float:
    """Return what one provider's answers cost.

    Args:
        price: USD per million tokens in, out, and read from the provider's own cache.
        counts: What the sandbox counted for the provider.
    """
    found = counts.get("tokens")
    tokens = found if isinstance(found, Mapping) else {}
    kinds = ("input", "output", "cache_read")
    completed = sum(p * _number(tokens.get(kind)) for p, kind in zip(price, kinds, strict=True))
    answered, left = _number(counts.get("answered")), _number(counts.get("disconnects"))
    return completed / 1e6 * (1 + left / answered if answered else 1.0)


def error_bp(signals: Sequence[AskedSignal]) -> float | None:
    """Return the root mean square error of the prices used, in basis points."""
    squares = [
        (10_000 * (one.price / one.truth - 1)) ** 2
        for one in signals
        if one.price is not None and one.truth
    ]
    return math.sqrt(math.fsum(squares) / len(squares)) if squares else None


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the nearest-rank percentile of *values*, or ``None`` if there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def _mean_ms(seconds: Sequence[float]) -> float | None:
    return 1000 * math.fsum(seconds) / len(seconds) if seconds else None


def _symbols(counts: Mapping[str, object]) -> int:
    found = counts.get("symbols")
    return sum(map(_number, found.values())) if isinstance(found, Mapping) else 0


def _ratio(after: float | None, baseline: float | None) -> float | None:
    return None if after is None or not baseline else round(after / baseline, 4)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
