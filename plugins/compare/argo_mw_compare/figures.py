"""Figures: observations in numbers, and all layers against the baseline."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import asdict, fields, frozen

from argo_mw.plugin import ConfigError
from argo_mw_compare.experiment import AskedSignal, Observations
from argo_mw_compare.interval import Interval, interval, ratio_interval
from argo_mw_compare.workload import PRICES

MAX_CPU_PCT = 5.0
"""Percent of the time of misses that our CPU may take before it distorts latencies."""
_FREE = (0.0, 0.0, 0.0)


@frozen
class Figures:
    """What came of one variant with one seed, or the means of several; ``None`` where unmeasured.

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
        hit_rate: The share of answered signals for which no upstream had to be asked while their
            callers waited; the original's count alike.
        write_ms: Median real milliseconds of a row's write that a caller waits for; ``None`` where
            none waits.
        query_ms: Mean real milliseconds of a question for a symbol's last ten signals.
        query_p99_ms: The 99th percentile of the same.
        error_bp: Root mean square error of the prices used, in basis points.
        cpu_pct: Our CPU time in rounds that asked an upstream, as a share of their real time.
        seconds: Real seconds of the experiment.
    """

    variant: str
    signals: float
    failed: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p50_miss_ms: float | None
    p95_miss_ms: float | None
    p99_miss_ms: float | None
    requests: float
    requests_sent: float
    loads: float
    calls_sent: float
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


Seeds = Mapping[str, Mapping[int, Figures]]
"""The figures of each variant, by seed."""

Summary = dict[str, float | list[float | None] | None]

_RATIOS: Final = {
    "p50_miss_ratio": "p50_miss_ms",
    "p50_ratio": "p50_ms",
    "p99_ratio": "p99_ms",
    "calls_ratio": "requests",
    "loads_ratio": "loads",
    "usd_ratio": "usd",
    "query_ratio": "query_ms",
    "error_bp_ratio": "error_bp",
}
"""Ratios of all layers to the baseline, and the figure of each."""


def means(several: Sequence[Figures]) -> Figures:
    """Return the mean of each figure of one variant over *several* seeds."""

    def mean(name: str) -> float | None:
        known = [value for one in several if (value := getattr(one, name)) is not None]
        return statistics.fmean(known) if known else None

    names = [one.name for one in fields(Figures) if one.name != "variant"]
    found: dict[str, Any] = {name: mean(name) for name in names}
    return Figures(several[0].variant, **found)


def summarize(seeds: Seeds) -> Summary:
    """Return all layers against the baseline: means of the seeds, each with its interval.

    A ratio is that of the means; below 1 is better. Beside ``NAME`` stand ``NAME_interval``, with
    95 % confidence, and ``NAME_by_seed``.

    Raises:
        ConfigError: The baseline or all layers were left out.
    """
    baseline_and_all([one for by_seed in seeds.values() for one in by_seed.values()])
    before, after = seeds["baseline"], seeds["all"]
    pairs = [(before[seed], after[seed]) for seed in sorted(before.keys() & after.keys())]
    found: Summary = {}
    for name, figure in _RATIOS.items():
        values = [(getattr(one, figure), getattr(other, figure)) for one, other in pairs]
        found[f"{name}_by_seed"] = [_ratio(new, old) for old, new in values]
        known = [both for both in values if None not in both]
        ratio = ratio_interval([new for _, new in known], [old for old, _ in known])
        found |= _noted(name, ratio)
    rates = [one.hit_rate for _, one in pairs if one.hit_rate is not None]
    found["hit_rate_by_seed"] = [round(one, 4) for one in rates]
    return found | _noted("hit_rate", interval(rates) if rates else None)


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


def _noted(name: str, found: Interval | None) -> Summary:
    """Return *found* under *name*, with its bounds where there are any."""
    bounds: list[float | None] = []
    if found is not None and math.isfinite(found.low):
        bounds = [round(found.low, 4), round(found.high, 4)]
    mean = None if found is None else round(found.mean, 4)
    return {name: mean, f"{name}_interval": bounds or None}


def _symbols(counts: Mapping[str, object]) -> int:
    found = counts.get("symbols")
    return sum(map(_number, found.values())) if isinstance(found, Mapping) else 0


def _ratio(after: float | None, baseline: float | None) -> float | None:
    return None if after is None or not baseline else round(after / baseline, 4)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
