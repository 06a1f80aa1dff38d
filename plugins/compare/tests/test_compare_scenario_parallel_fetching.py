"""The scenario of parallel fetching, with few symbols and fast vendors."""

from __future__ import annotations

import pytest

from argo_mw_compare.scenarios.parallel_fetching import ParallelFetching, Seen
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
    unanswered = [one for one in found.shown if "without an answer" in one.title]
    assert ["0"] * 4 == [one.after for one in unanswered]
    assert promises["parallel_fetching.unanswered"]["met"]
    assert any(one.startswith("Without `race`") for one in found.said)
    assert any(one.startswith("Without `coalesce`") for one in found.said)


def test_a_signal_without_an_answer_is_in_no_mean_and_is_named():
    before = Seen({"all is well": [4.0]}, burst_requests=100)
    failed = {"all is well": ["Refusal: the quota is used up"]}
    after = Seen({"all is well": [1.0, 3.0]}, failed, burst_requests=20)
    found = ParallelFetching().findings(before, after)
    assert pytest.approx(0.5) == found.promises[0].ours
    [said] = found.said
    assert "Signals of the chain that got no answer, and are in no mean: 1" in said
    assert "the quota is used up" in said
