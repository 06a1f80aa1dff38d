"""The scenarios, each with parameters so small that it says whether it works, not what it gains."""

from __future__ import annotations

import json
import math

import pytest
from click.testing import CliRunner

from argo_mw import ConfigError
from argo_mw_compare.comparison import last_line, write_page, write_report
from argo_mw_compare.plugin import compare
from argo_mw_compare.scenarios import catalogue
from argo_mw_compare.scenarios.catalogue import SCENARIOS, known_scenarios, scenario
from argo_mw_compare.scenarios.picture import picture
from argo_mw_compare.scenarios.promise import Findings, Promise, Shown, at_most, by_key
from argo_mw_compare.scenarios.text import markdown, page_of, read_findings

FOUND = Findings(
    "database",
    "Writes and reads",
    ("Ten rows.",),
    (
        at_most("write_time", "a write", plan="−50 %", bar=0.1, before=2.0, after=0.1, unit="ms"),
        Promise(
            name="hit_rate",
            title="hits",
            plan="70 %",
            unit="",
            before=0.4,
            after=0.7,
            ours=0.7,
            bar=0.75,
            at_least=True,
        ),
    ),
    (Shown("calm", "a write", "2 ms", "0.1 ms"),),
    1.0,
)


class TestPromises:
    @pytest.mark.parametrize(
        ("after", "met"), [(0.1, True), (0.2, True), (0.21, False), (None, False)]
    )
    def test_a_ratio_is_met_up_to_its_bar_and_only_when_it_was_measured(self, after, met):
        made = at_most("time", "a time", plan="", bar=0.1, before=2.0, after=after)
        assert met == made.met

    def test_a_ratio_to_nothing_is_not_met(self):
        made = at_most("time", "a time", plan="", bar=0.1, before=0.0, after=0.0)
        assert (None, False) == (made.ours, made.met)

    def test_a_share_is_met_from_its_bar_on(self):
        assert [True, False] == [one.met for one in FOUND.promises]

    def test_the_report_names_each_promise_by_its_scenario(self):
        found = json.loads(last_line(None, [FOUND]))
        assert ["database.write_time", "database.hit_rate"] == list(found)
        assert {"ours": 0.05, "plan": "−50 %", "bar": 0.1, "met": True}.items() <= found[
            "database.write_time"
        ].items()


class TestReports:
    def test_findings_are_read_back_as_they_were_written(self):
        assert FOUND == read_findings(json.loads(json.dumps(FOUND.as_dict())))

    def test_the_page_shows_parameters_promises_and_parts(self):
        found = page_of(FOUND)
        assert "- Ten rows.\n" in found
        assert "| database: hits | 0.4 | 0.7 | 0.7 | ≥ 0.75 | 70 % | not met |\n" in found
        assert "| calm | a write | 2 ms | 0.1 ms |\n" in found

    def test_a_table_of_several_has_a_row_for_each_promise(self):
        assert 2 + 2 * len(FOUND.promises) == markdown([FOUND, FOUND]).count("\n")

    def test_the_picture_has_two_bars_for_each_promise(self):
        made = picture([FOUND])
        assert 1 + 2 * len(FOUND.promises) == made.count("<rect")
        assert "bar ≥ 0.75: not met" in made

    def test_the_page_shows_scenarios_that_were_run_without_the_whole(self, tmp_path):
        file = tmp_path / "page.html"
        write_page(file, None, [FOUND])
        assert "What the plan promised" in file.read_text("utf-8")

    def test_what_was_not_measured_again_stays_in_the_report(self, tmp_path):
        file = tmp_path / "report.json"
        file.write_text('{"summary": {"p50_ratio": 0.2}, "scenarios": {"race": {}}}')
        write_report(file, None, [FOUND], 3.0)
        report = json.loads(file.read_text())
        assert {"p50_ratio": 0.2} == report["summary"]
        assert ["race", "database"] == list(report["scenarios"])
        assert by_key([FOUND]) == report["promises"]


class TestCatalogue:
    def test_without_names_all_scenarios_are_meant(self):
        assert tuple(SCENARIOS) == known_scenarios(()) == known_scenarios(("all",))

    def test_an_unknown_scenario_is_refused_with_those_that_there_are(self):
        with pytest.raises(ConfigError, match="no scenario 'databas'.*database"):
            known_scenarios(("databas",))

    @pytest.mark.parametrize("name", SCENARIOS)
    def test_a_scenario_is_found_by_its_name_and_states_its_parameters(self, name):
        assert name == scenario(name).name
        assert all(text.endswith(".") for text in scenario(name).given)

    def test_one_scenario_is_run_alone(self, monkeypatch, tmp_path):
        asked = []

        def run_scenarios(names, *, say):
            asked.extend(names)
            return [FOUND]

        monkeypatch.setattr("argo_mw_compare.comparison.run_scenarios", run_scenarios)
        file = tmp_path / "report.json"
        done = CliRunner().invoke(compare, ["--scenario", "database", "--json", str(file)])
        assert (0, ["database"]) == (done.exit_code, asked)
        assert math.isclose(
            0.05, json.loads(done.output.splitlines()[-1])["database.write_time"]["ours"]
        )
        assert "scenarios" in json.loads(file.read_text())

    def test_a_scenario_runs_in_a_process_of_its_own(self, monkeypatch):
        assert catalogue.run_scenarios([], say=print) == []
