"""From what was observed to the report: the whole, with runs that are made up."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from argo_mw_compare import comparison
from argo_mw_compare.experiment import AskedSignal, Observations
from argo_mw_compare.plugin import compare
from argo_mw_compare.variants import variants

LAYERS = ["coalesce", "cache", "race"]


def observed(variant, seed):
    """Return a run in which every layer that is left out makes more requests."""
    requests = 100 if variant.baseline else 50 - 10 * len(variant.layers)
    asked = [AskedSignal(0, "A", 0.1 * (seed + 1), price=100.1, truth=100.0)]
    counts = {"alpaca": {"requests": requests + seed, "symbols": {"A": requests}}}
    return Observations(variant, asked, counts=counts)


@pytest.fixture
def report(monkeypatch, tmp_path):
    def run(workload, *, quick, say):
        return {
            turn: [observed(one, turn) for one in variants(LAYERS, quick=quick, turn=turn)]
            for turn in range(4)
        }

    monkeypatch.setattr(comparison, "run", run)
    monkeypatch.setattr(comparison, "run_scenarios", lambda names, say: [])
    files = tmp_path / "report.json", tmp_path / "page.html"
    options = ["--speed", "1", "--json", str(files[0]), "--html", str(files[1])]
    done = CliRunner().invoke(compare, options, catch_exceptions=False)
    assert 0 == done.exit_code
    return done.output, json.loads(files[0].read_text()), files[1].read_text("utf-8")


def test_the_report_has_every_seed_and_what_each_layer_brings(report):
    output, written, page = report
    of_all = [one["seed"] for one in written["figures"] if one["variant"] == "all"]
    assert [0, 1, 2, 3] == of_all
    assert {"coalesce", "cache", "race"} == set(written["leave_one_out"])
    assert written["leave_one_out"]["race"]["met"]
    assert "brings requests" in written["leave_one_out"]["race"]["words"]
    last = json.loads(output.splitlines()[-1])
    assert last["calls_ratio"] == written["summary"]["calls_ratio"] < 0.3
    assert last["leave_one_out.race"]["pays"]
    assert "× the requests" in page
    assert "What each layer brings to the whole" in page


def test_the_terminal_says_it_in_words(report):
    output, _, _ = report
    assert "race: brings requests" in output.replace("\n", " ")
    assert "× the requests" in output
