"""A whole experiment, over real sockets."""

from __future__ import annotations

import pytest

from argo_mw_compare import experiment as experiments
from argo_mw_compare.experiment import Experiment
from argo_mw_compare.figures import figures
from argo_mw_compare.run import installed_layers, make_history
from argo_mw_compare.variants import Variant, variants
from argo_mw_compare.vendors import Vendors
from argo_mw_compare.workload import Workload


@pytest.mark.parametrize("name", ["all", pytest.param("baseline", marks=pytest.mark.soak)])
async def test_our_events_and_the_sandbox_count_alike(name, tmp_path):
    layers = await installed_layers()
    variant = next(v for v in variants(layers, quick=True) if v.name == name)
    workload = Workload(symbols=2, hours=0.05, speed=4.0, history=100)
    history = make_history(workload, tmp_path)
    with Vendors(workload.sandbox(instant=True)) as truth:
        seen = await Experiment(workload, variant, layers, tmp_path, truth, history).run()
    found = figures(seen)
    rounds = sum(step.kind == "round" for step in workload.steps())
    assert found.signals == 2 * rounds
    assert found.failed == 0
    assert found.requests > 0
    assert found.requests == found.requests_sent
    assert found.loads >= found.requests
    assert found.loads == found.calls_sent
    assert found.error_bp is not None
    assert found.usd > 0
    assert 2 * rounds == len(seen.queries)


async def test_layers_outside_of_the_variant_stay_off(tmp_path):
    """A third-party layer would be on in every variant, the baseline included."""
    workload = Workload(symbols=1, history=0)
    history = make_history(workload, tmp_path)
    layers = [*await installed_layers(), "third_party"]
    with Vendors(workload.sandbox(instant=True)) as truth:
        experiment = Experiment(
            workload, Variant("all", ("cache",)), layers, tmp_path, truth, history
        )
        experiment._vendors = truth
        flags = experiment._config(tmp_path)["flags"]
    assert ("on", "off", "off") == (flags["cache"], flags["race"], flags["third_party"])


def test_a_plugin_that_is_not_installed_is_not_blocked(monkeypatch):
    """The name of a missing plugin is an error."""
    monkeypatch.setattr(experiments, "installed_plugins", lambda: {"compare", "market", "sandbox"})
    assert ["compare"] == experiments.blocked()
