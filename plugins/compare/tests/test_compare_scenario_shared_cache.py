"""The scenario of the shared cache, for one symbol and a few minutes."""

from __future__ import annotations

import sys

from argo_mw_compare.scenarios.promise import by_key
from argo_mw_compare.scenarios.scenario import measure
from argo_mw_compare.scenarios.shared_cache import SharedCache


def test_instances_share_answers_and_have_them_after_a_restart(tmp_path):
    found = measure(SharedCache(symbols=("AAPL",), instances=2, hours=0.12), tmp_path)
    promises = by_key([found])
    assert promises["shared_cache.hit_rate"]["ours"] > promises["shared_cache.hit_rate"]["before"]
    assert promises["shared_cache.requests_after_restart"]["ours"] < 0.5
    assert all(one.ours is not None for one in found.promises)
    assert sys.platform != "linux" or "memory" in {one.phase for one in found.shown}


async def test_every_miss_of_the_original_is_a_request_that_the_vendors_counted(tmp_path):
    seen = await SharedCache(symbols=("AAPL",), instances=2, hours=0.05).before(tmp_path)
    assert seen.requests == seen.questions - seen.hits
    assert 0.0 < seen.hit_rate < 1.0
    assert seen.memory_us > 0.0
