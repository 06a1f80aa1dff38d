"""``argo-mw top``: the same as the dashboard, in a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from argo_mw.cli.main import cli
from argo_mw.cli.terminal import console
from argo_mw.cli.top_view import draw, shown
from argo_mw.plugin import (
    ButtonNow,
    Column,
    InstanceNow,
    JournalEntry,
    LayerNow,
    Line,
    OperationNow,
    PanelNow,
    Plot,
    ProgramsNow,
    View,
)

NASTY = "\x1b]0;owned\x07[red]\u202e<script>"


def operation(name: str = "bars") -> OperationNow:
    return OperationNow(
        name=name, total=7, calls=3.5, hits={"cache": 3.0}, loads=0.5, errors={"UpstreamError": 0.1},
        hit_rate=0.857, p50=0.0, p95=0.25, p99=1.5, age_p50=10.0, age_p95=60.0, tokens=0.0,
        usd=1.25, saved_usd={"cache": 7.5}, unpriced=0.0,
    )  # fmt: skip


def snapshot(**changes: object) -> ProgramsNow:
    lines = [Line((f"S{n}", 0.5, 1_750_000_000.0)) for n in range(30)]
    columns = [Column("symbol"), Column("share", "share"), Column("when", "time")]
    plots = [Plot("AAPL, price", [(float(n), 100.0 + n) for n in range(10)])]
    given: dict[str, object] = {
        "at": 1_750_000_000.0,
        "seconds": 15.0,
        "instances": [InstanceNow("one", "here", "0.1", 3.5)],
        "layers": [
            LayerNow("cache", "cache", "on", {"hit": 3.0}),
            LayerNow("race", "race", "killed", {}, off=True),
        ],
        "upstreams": [],
        "operations": [operation()],
        "panels": [
            PanelNow("p", "Shown", columns, [ButtonNow("b", "B", "?")], {"": View(lines, plots)})
        ],
        "problems": ["redis, server: it is full"],
        "journal": [JournalEntry(1_750_000_000.0, "kill race", "slow")],
    }
    return ProgramsNow(**(given | changes))  # type: ignore[arg-type]


def drawn(shown: ProgramsNow, height: int | None = None) -> str:
    out = console()
    out.width = 120
    with out.capture() as captured:
        out.print(draw(shown, height))
    return captured.get()


def test_all_of_a_snapshot_is_drawn() -> None:
    text = drawn(snapshot())
    assert "1 program  3.5 calls/s  $1.25/h spent  $7.50/h saved" in text
    for part in (
        "→ cache", "hit 3", "killed", "bars", "85.7%", "250 ms", "1.5 s", "Shown", "50.0%",
        "06-15 15:06:40Z", "and 18 more", "AAPL, price  ▁▂▃▃▄▅▆▆▇█  109", "kill race", "slow",
        "redis, server: it is full",
    ):  # fmt: skip
        assert part in text, part


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.25, "250 ms"), (1.5, "1.5 s"), (119, "119 s"), (150, "2.5 min"), (9_000, "2.5 h"),
        (179_000, "2.1 d"), (-179_000, "-2.1 d"), (1e9, "11,574 d"), (0.0, "0 ms"),
    ],
)  # fmt: skip
def test_seconds_are_drawn_in_a_unit_that_can_be_read(seconds: float, expected: str) -> None:
    assert shown(seconds, "s") == expected


def test_three_problems_are_drawn_and_how_many_more_there_are() -> None:
    text = drawn(snapshot(problems=[f"problem {n}" for n in range(5)]))
    assert "problem 2\nand 2 more: see `argo-mw doctor`" in text
    assert "problem 3" not in text


def test_no_more_lines_are_drawn_than_a_terminal_has() -> None:
    assert len(drawn(snapshot(), 12).splitlines()) == 11
    assert "1 program" in drawn(snapshot(), 12)


def test_nothing_that_a_terminal_would_obey_is_drawn() -> None:
    nasty = snapshot(
        problems=[NASTY],
        operations=[operation(NASTY)],
        layers=[LayerNow(NASTY, NASTY, NASTY, {NASTY: 1.0})],
        journal=[JournalEntry(float("nan"), NASTY, NASTY)],
        panels=[
            PanelNow("p", NASTY, [Column(NASTY)], [], {NASTY: View([Line((NASTY,))], text=NASTY)})
        ],
    )
    text = drawn(nasty)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    assert "[red]" in text


def test_a_snapshot_without_anything_is_drawn() -> None:
    nothing = snapshot(instances=[], layers=[], operations=[], panels=[], problems=[], journal=[])
    assert "0 programs  0 calls/s" in drawn(nothing)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))
    path = tmp_path / "argo.toml"
    path.write_text('[argo]\nshared = "memory://"\nblock = ["metrics"]\n')
    return path


def test_once_prints_what_there_is_and_ends(config: Path) -> None:
    ended = CliRunner().invoke(cli, ["-c", str(config), "top", "--once"])
    assert ended.exit_code == 0, ended.output
    assert "→ upstream" in ended.output
    assert "no other program's counters are seen here" in ended.output


def test_once_prints_json(config: Path) -> None:
    ended = CliRunner().invoke(cli, ["-c", str(config), "top", "--once", "--json"])
    found = json.loads(ended.stdout)
    assert {"at", "instances", "layers", "upstreams", "operations", "panels"} <= found.keys()
    assert found["operations"] == []


def test_a_live_drawing_needs_no_terminal() -> None:
    out = Console(width=80, force_terminal=False)
    with out.capture() as captured:
        out.print(draw(snapshot()))
    assert "→ cache" in captured.get()
