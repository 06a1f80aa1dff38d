"""The demo: what it runs, what it says, and that its figures are those of the sandbox."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve
from click.testing import CliRunner
from rich.console import Console

from argo_mw import ConfigError
from argo_mw_compare import demo as demos
from argo_mw_compare.demo import DemoReport, Script, column_of, prepare
from argo_mw_compare.demo_command import demo
from argo_mw_compare.demo_text import as_json, show
from argo_mw_compare.experiment import AskedSignal, Observations
from argo_mw_compare.variants import Variant

SIGNAL = ("BUY", 0.61, ("trend", "panel"))


def observed(variant: Variant, **changes: object) -> Observations:
    """Observations of two instances in the outage, after their restarts, and before."""
    script = Script()
    times = [0.0, script.outage[0], *script.restarts]
    asked = [
        AskedSignal(
            at, "AAPL", 0.2, missed=at == 0.0, price=450.0, instance=number, signal=SIGNAL, life=9.0
        )
        for at in times
        for number in (0, 1)
    ]
    counts: dict[str, dict[str, object]] = {"alpaca": {"requests": 2, "symbols": {"AAPL": 2}}}
    return evolve(Observations(variant, asked=asked, requests=2, counts=counts), **changes)


def report(**chain: object) -> DemoReport:
    script = evolve(Script(), own=("AAPL",), symbols=1)
    acts = Counter({"coalesce joined": 5, "cache hit": 7, "race won": 3, "persist recorded": 2})
    original = column_of(script, observed(Variant("baseline", baseline=True), writes=[0.004]))
    behind = column_of(script, observed(Variant("all"), **{"acts": acts, **chain}))
    return DemoReport(script, "real", ["similarity"], original, behind, seconds=21.0)


def printed(one: DemoReport) -> str:
    out = Console(width=200, record=True, file=None, quiet=False)
    with out.capture() as captured:
        show(one, out)
    return captured.get()


def test_the_script_has_an_outage_in_the_storm_and_a_restart_of_each_instance() -> None:
    steps = Script().steps()
    assert [0, 1] == [one.instance for one in steps if one.kind == "restart"]
    failing, back = Script().outage
    rounds = [one.at for one in steps if one.kind == "round"]
    assert 4 <= sum(failing <= at < back for at in rounds)
    for number, at in enumerate(Script().restarts):
        assert any(s.kind == "round" and s.instance == number and s.at > at for s in steps)
    assert max(rounds) < 3600 * Script().hours


def test_the_report_shows_both_services_and_a_line_for_each_layer() -> None:
    text = printed(report())
    assert "replayed from 2013-02-25 14:40 UTC" in text
    assert "as the original service did it" in text
    assert "through the chain" in text
    assert "5 calls joined an equal one under way" in text
    assert "7 calls were answered from memory" in text
    assert "new signals were kept for 9 to 9 s" in text
    assert "in the original each waited 4.0 ms" in text
    assert "not installed here: similarity" in text
    assert "2 of 2" in text
    assert "they agree" in text


def test_a_layer_that_did_nothing_says_so() -> None:
    text = printed(report(acts=Counter()))
    assert 3 <= text.count("had nothing to do this time")


@pytest.mark.parametrize(
    ("sent", "unanswered", "agrees"), [(2, 0, True), (3, 1, True), (3, 0, False), (1, 0, False)]
)
def test_what_was_given_up_may_not_have_left_and_nothing_else(
    sent: int, unanswered: int, agrees: bool
) -> None:
    one = report(requests=sent, unanswered=unanswered)
    assert agrees is one.agrees
    assert agrees is ("DISAGREE" not in printed(one))


def test_the_report_as_json_holds_the_figures_of_both() -> None:
    plain = json.loads(json.dumps(as_json(report())))
    assert 2 == plain["original"]["requests"]
    assert {"signals": 2, "answered": 2} == {
        name: plain["chain"]["in_outage"][name] for name in ("signals", "answered")
    }
    assert {"joined": 5} == plain["layers"]["coalesce"]
    assert plain["agree"] is True


def test_a_plugin_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demos, "installed_plugins", lambda: {"sandbox", "market"})
    with pytest.raises(ConfigError, match="install argo-mw-signals"):
        demos.run(say=print)


def test_symbols_are_checked_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match="no prices of 'APPL'; it has AAPL, FB"):
        prepare(["APPL"], None)


def test_one_s_own_files_are_replayed_from_their_own_last_day(tmp_path: Path) -> None:
    rows = [f"2024-06-{day:02},10,11,9,10.5,1000" for day in range(3, 15) if day not in (8, 9)]
    head = "time,open,high,low,close,volume\n"
    (tmp_path / "ACME.csv").write_text(head + "\n".join(rows) + "\n")
    script, prices = prepare([], tmp_path)
    assert (("ACME",), "file") == (script.names, prices)
    assert "2024-06-14" == datetime.fromtimestamp(script.begins, UTC).date().isoformat()


def test_a_file_that_cannot_be_used_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "BAD.csv").write_text("time,open,high,low,close,volume\n2024-05-06,1,1,1,one,1\n")
    with pytest.raises(ConfigError, match=r"BAD\.csv: line 2: a price is not a number"):
        prepare([], tmp_path)


@pytest.mark.soak
def test_the_whole_demo_runs_and_agrees() -> None:
    done = CliRunner().invoke(demo, ["AAPL", "MSFT"])
    assert 0 == done.exit_code, done.output
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["agree"] is True
    assert last["chain"]["requests"] < last["original"]["requests"]
    assert {"coalesce", "cache", "race", "similarity", "persist"} <= set(last["layers"])
