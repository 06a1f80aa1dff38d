"""A whole trial, over real sockets."""

from __future__ import annotations

import pytest

from argo_mw_compare import trial as trials
from argo_mw_compare.figures import figures
from argo_mw_compare.run import installed_layers, make_past
from argo_mw_compare.trial import Trial
from argo_mw_compare.variants import Variant, variants
from argo_mw_compare.vendors import Vendors
from argo_mw_compare.workload import Workload


@pytest.mark.parametrize("name", ["all", pytest.param("before", marks=pytest.mark.soak)])
async def test_what_we_count_is_what_the_sandbox_counts(name, tmp_path):
    layers = await installed_layers()
    variant = next(v for v in variants(layers, quick=True) if v.name == name)
    workload = Workload(symbols=2, hours=0.05, speed=4.0, past=100)
    past = make_past(workload, tmp_path)
    with Vendors(workload.sandbox(instant=True)) as truth:
        seen = await Trial(workload, variant, layers, tmp_path, truth, past).run()
    told = figures(seen)
    rounds = sum(step.kind == "round" for step in workload.steps())
    assert told.signals == 2 * rounds
    assert told.failed == 0
    assert told.requests > 0
    assert told.requests == told.requests_told
    assert told.loads >= told.requests
    assert told.loads == told.questions
    assert told.error_bp is not None
    assert told.usd > 0
    assert 2 * rounds == len(seen.queries)


async def test_layers_that_no_variant_is_about_stay_off(tmp_path):
    """Somebody's own would be on in every variant, the original service included."""
    workload = Workload(symbols=1, past=0)
    past = make_past(workload, tmp_path)
    layers = [*await installed_layers(), "somebody_s"]
    with Vendors(workload.sandbox(instant=True)) as truth:
        trial = Trial(workload, Variant("all", ("cache",)), layers, tmp_path, truth, past)
        trial._vendors = truth
        flags = trial._config(tmp_path)["flags"]
    assert ("on", "off", "off") == (flags["cache"], flags["race"], flags["somebody_s"])


def test_what_is_not_installed_is_not_blocked_either(monkeypatch):
    """A name that nobody has is an error."""
    monkeypatch.setattr(trials, "installed_plugins", lambda: {"compare", "market", "sandbox"})
    assert ["compare"] == trials.unwanted()
