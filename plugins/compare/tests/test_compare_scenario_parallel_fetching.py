"""The scenario of parallel fetching, with few symbols and fast vendors."""

from __future__ import annotations

from argo_mw_compare.scenarios.parallel_fetching import ParallelFetching
from argo_mw_compare.scenarios.promise import by_key
from argo_mw_compare.scenarios.scenario import measure


def test_every_signal_is_answered_and_a_burst_asks_once(tmp_path):
    small = ParallelFetching(
        symbols=1, burst_symbols=1, callers=6, instances=2, patience=20.0, speed=10.0
    )
    found = measure(small, tmp_path)
    promises = by_key([found])
    assert promises["parallel_fetching.fetch_time"]["ours"] < 1.0
    assert promises["parallel_fetching.redundant_requests"]["ours"] < 0.5
    assert "0" == found.shown[-1].after
