"""The pages show measurements, all from one report."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from argo_mw_compare.scenarios.promise import Findings, at_most

ROOT = Path(__file__).parents[3]
OPTIMIZATIONS = ("coalesce", "cache", "adaptive_ttl", "race", "similarity", "persist")


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare_pages", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages = load(ROOT / "docs" / "compare.py")
OUTPUTS = dict(pages.outputs(pages.read()))


@pytest.mark.parametrize("path", OUTPUTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_shows_the_measurements(path: Path) -> None:
    """Run ``python docs/compare.py`` when it does not."""
    assert OUTPUTS[path] == path.read_text("utf-8")


@pytest.mark.parametrize("layer", OPTIMIZATIONS)
def test_every_optimization_shows_what_is_lost_without_it(layer: str) -> None:
    found = OUTPUTS[ROOT / "plugins" / layer / "README.md"]
    for title in ("all layers", f"all but `{layer}`", "no layer"):
        assert f"\n| {title} | " in found


def test_pages_are_right_of_what_was_not_measured() -> None:
    """So they are after a change of what is measured, until it is."""
    report = json.loads((ROOT / "docs" / "compare.json").read_text("utf-8"))
    once = [{**one, "seed": 0} for one in report["figures"] if not one.get("seed")]
    measured = pages.Measured(report | {"figures": once, "scenarios": {}})
    for name in ("leave_one_out", "promises", "scenario_database"):
        assert measured.block(name) == "Not measured yet.\n"
    assert "in the whole:" not in measured.block("race")


def test_pages_say_what_each_layer_brings() -> None:
    report = json.loads((ROOT / "docs" / "compare.json").read_text("utf-8"))
    [one] = [f for f in report["figures"] if f["variant"] == "all" and not f.get("seed")]
    several = [
        {**one, "variant": variant, "seed": seed, "requests": requests + seed}
        for variant, requests in (("baseline", 300), ("all", 50), ("-race", 60))
        for seed in range(3)
    ]
    measured = pages.Measured(report | {"figures": several})
    words = (
        "brings requests −16 % (−17 to −16); 99th percentile, USD, price error: inside the noise."
    )
    assert f"| `race` | {words} |\n" in measured.block("leave_one_out")
    assert "None is better left out.\n" in measured.block("leave_one_out")
    assert f"`race` in the whole: {words}\n" in measured.block("race")
    assert "| all layers | 0 |" in measured.block("race")
    assert "Switch `race` on where callers wait for vendors or models" in measured.block("race")
    assert "Means of seeds: 3 of `baseline`, `all`, `-race`." in measured.block("variants")
    assert "| no ratio: 0.86 |" in measured.block("summary")
    assert " ± 2 |" in measured.block("race")


def test_a_scenario_that_was_measured_is_shown_with_its_promises() -> None:
    made = at_most("query_time", "a question", plan="−80 %", bar=0.1, before=50.0, after=1.0)
    found = Findings("database", "Writes and reads", ("Ten rows.",), (made,))
    report = json.loads((ROOT / "docs" / "compare.json").read_text("utf-8"))
    measured = pages.Measured(report | {"scenarios": {"database": found.as_dict()}})
    row = "| database: a question | 50 | 1 | 0.02 | ≤ 0.1 | −80 % | met |\n"
    assert row in measured.block("promises")
    assert "- Ten rows.\n" in measured.block("scenario_database")
    assert "Not measured yet." in measured.block("scenario_race")
    assert ROOT / "docs" / "assets" / "promises.svg" in dict(pages.outputs(measured))
