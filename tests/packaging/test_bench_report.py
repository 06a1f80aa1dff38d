"""The benches' frame: bars are declared for benches that exist, and judged as they are declared."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests.bench import __main__ as frame
from tests.bench._bars import Bar, declared, verdicts
from tests.bench._machine import PEERS, machine, versions

FIGURES = {"ratio": 2.0, "nested": {"deeper": 0.5}, "words": "many"}


@pytest.mark.parametrize(
    ("relation", "limit", "met"),
    [
        *[("<=", 2.0, True), ("<=", 1.9, False), (">=", 2.0, True), (">=", 2.1, False)],
        *[("<", 2.0, False), (">", 1.9, True), (">", 2.0, False), ("=", 2.0, True)],
        ("=", 1.0, False),
    ],
)
def test_a_figure_is_compared_as_its_bar_says(relation: str, limit: float, met: bool) -> None:
    assert met == Bar("any", "ratio", relation, limit).judge(FIGURES).met


def test_a_dot_leads_one_level_deeper() -> None:
    assert 0.5 == Bar("any", "nested.deeper", "<=", 1.0).judge(FIGURES).value


@pytest.mark.parametrize("key", ["absent", "nested", "nested.absent", "words", "ratio.deeper"])
def test_a_figure_that_is_missing_fails_the_check(key: str) -> None:
    """A renamed key must not pass for a bar that is met; not even one that never decides."""
    for kind in ("ratios", "absolute"):
        verdict = Bar("any", key, "<=", 1.0, kind).judge(FIGURES)  # type: ignore[arg-type]
        assert (None, False, True) == (verdict.value, verdict.met, verdict.fails)


def test_what_depends_on_the_machine_is_shown_and_does_not_fail_the_check() -> None:
    verdict = Bar("any", "ratio", "<=", 1.0, "absolute").judge(FIGURES)
    assert (False, False) == (verdict.met, verdict.fails)
    assert "MISSED any.ratio 2 (bar <= 1, on this machine)" == verdict.line()


def test_only_the_benchs_own_bars_judge_it() -> None:
    bars = [Bar("one", "ratio", "<=", 3.0), Bar("other", "ratio", "<=", 3.0)]
    assert ["one"] == [verdict.bar.bench for verdict in verdicts(bars, "one", FIGURES)]


@pytest.mark.parametrize("text", ["3", "about 3", "<=3", "<= few"])
def test_a_bar_that_cannot_be_read_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "bars.toml"
    file.write_text(f'[ratios.one]\nratio = "{text}"\n')
    with pytest.raises(ValueError, match="number|float"):
        declared(file)


def test_a_kind_of_bars_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bars.toml"
    file.write_text('[rations.one]\nratio = "<= 3"\n')
    with pytest.raises(ValueError, match="rations"):
        declared(file)


def test_every_bench_has_its_place_in_the_order_and_every_bar_its_bench() -> None:
    assert set(frame.names()) == set(frame.ORDER)
    assert {bar.bench for bar in declared()} == set(frame.ORDER)


def test_every_peer_is_pinned() -> None:
    lines = [line for line in PEERS.read_text("utf-8").splitlines() if not line.startswith("#")]
    assert lines
    assert [] == [line for line in lines if not re.fullmatch(r"[\w-]+(\[\w+\])?==[\d.]+", line)]


def test_a_report_says_where_and_with_what_it_was_measured() -> None:
    assert {"cores", "memory_gib", "python", "system"} == set(machine())
    found = versions()
    assert found["argo-mw"]
    assert found["argo-mw-persist"]
    assert found["redis"]


class Stub:
    """A bench that gives the figures it is told."""

    def __init__(self, figures: dict[str, object]) -> None:
        self._figures = figures

    def add_arguments(self, parser: object) -> None:
        """None of its own."""

    async def run(self, args: object) -> dict[str, object]:
        return self._figures


GOOD = {"l1_hit_vs_async_lru": 2.0, "cashews_vs_l1_hit": 9.0, "empty_chain_vs_async_lru": 4.0}


@pytest.mark.parametrize(
    ("ratio", "words", "code"), [(2, ["--check"], 0), (4, ["--check"], 1), (4, [], 0)]
)
def test_the_exit_code_tells_of_missed_bars_when_that_is_asked(
    ratio: float,
    words: list[str],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    figures = {**GOOD, "l1_hit_vs_async_lru": float(ratio)}
    monkeypatch.setattr(frame, "load", lambda name: Stub(figures))
    report = tmp_path / "report.json"
    assert code == frame.run_one("pipeline", [*words, "--json", str(report)])
    assert figures == json.loads(capsys.readouterr().out.splitlines()[-1])
    written = json.loads(report.read_text("utf-8"))
    assert figures == written["figures"]
    assert [ratio <= 3, True, True] == [bar["met"] for bar in written["bars"]]


def test_all_benches_make_one_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What needs data is left out without it, a bench that fails fails the run, the rest goes on."""
    asked = []

    def apart(name: str, words: list[str]) -> dict[str, object] | None:
        asked.append((name, *words))
        return None if name == "race" else GOOD

    monkeypatch.setattr(frame, "_apart", apart)
    words = ["--only", "pipeline", "race", "similarity"]
    assert 1 == frame.run_all(words)
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"pipeline": GOOD} == report["benches"]
    assert ["race", "similarity"] == sorted(report["left_out"])
    assert sys.version.split()[0] == report["machine"]["python"]

    frame.run_all([*words, "--data", str(tmp_path)])
    assert asked[-1] == ("similarity", "--data", str(tmp_path / "prompts"))


def test_a_bench_that_does_not_exist_is_an_error_that_names_those_that_do() -> None:
    with pytest.raises(SystemExit, match=r"no bench 'pipelin'.*all, .*pipeline"):
        frame.load("pipelin")
