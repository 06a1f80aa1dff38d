"""Write the measurements of ``make compare`` into the pages: ``python docs/compare.py``.

It takes the figures from ``docs/compare.json``, draws ``docs/assets/compare.svg``, and replaces
the text between ``<!-- measured: NAME -->`` and ``<!-- end -->``: ``summary`` is the baseline
against all layers, ``variants`` every variant, the name of a layer that layer alone and all
layers without it, ``promises`` what came of the plan's promises, and ``scenario_NAME`` all of one
scenario. A test fails when a page is out of date.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from argo_mw_compare.figures import Figures
from argo_mw_compare.report import ROWS, cell, picture, remarks
from argo_mw_compare.scenarios.picture import picture as promises
from argo_mw_compare.scenarios.promise import Findings
from argo_mw_compare.scenarios.text import markdown, page_of, read_findings
from argo_mw_compare.workload import Workload

DOCS = Path(__file__).parent
ROOT = DOCS.parent
_BLOCK = re.compile(r"(<!-- measured: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

_SUMMARY = (
    ("signals without an answer", "failed", "{:.0f}", "", ""),
    ("median of all signals, ms", "p50_ms", "{:.2f}", "p50_ratio", "≤ 0.3"),
    ("median of those that asked an upstream, ms", "p50_miss_ms", "{:.0f}", "p50_miss_ratio", ""),
    ("99th percentile of all signals, ms", "p99_ms", "{:.0f}", "p99_ratio", "≤ 0.4"),
    ("requests to vendors", "requests", "{:.0f}", "calls_ratio", "≤ 0.25"),
    ("symbols and prompts in them", "loads", "{:.0f}", "loads_ratio", ""),
    ("language models, USD", "usd", "{:.3f}", "usd_ratio", "≤ 0.3"),
    ("signals that asked no upstream", "hit_rate", "{:.1%}", "hit_rate", "≥ 0.8"),
    ("a symbol's last ten signals, ms", "query_ms", "{:.2f}", "query_ratio", "≤ 0.15"),
    ("error of the prices used, basis points", "error_bp", "{:.1f}", "error_bp_ratio", "≤ 1"),
)
"""Name, figure, format, ratio and aim of every row."""

_UNMEASURED = "Not measured yet.\n"
_PROMISES = "\n![Each promise, before and after](docs/assets/promises.svg)\n"

_LAYER = (
    ("failed", "failed", "{:.0f}"),
    ("p50, ms", "p50_ms", "{:.2f}"),
    ("p99, ms", "p99_ms", "{:.0f}"),
    ("requests", "requests", "{:.0f}"),
    ("loads", "loads", "{:.0f}"),
    ("USD", "usd", "{:.3f}"),
    ("hits", "hit_rate", "{:.0%}"),
    ("query, ms", "query_ms", "{:.2f}"),
    ("price error, bp", "error_bp", "{:.1f}"),
)


class Measured:
    """One comparison, read back.

    Args:
        report: The file that ``argo-mw compare --json`` wrote, read back.
    """

    def __init__(self, report: Mapping[str, object]) -> None:
        found, summary, workload = (report[name] for name in ("figures", "summary", "workload"))
        assert isinstance(found, list)
        assert isinstance(summary, dict)
        assert isinstance(workload, dict)
        self.columns = [Figures(**one) for one in found]
        self.workload = Workload(**workload)
        date = datetime.fromisoformat(str(report["date"]))
        machine = f"Python {report['python']} and {report['cores']} cores"
        self._measured = f"Measured on {date.day} {date:%B %Y} with {machine}."
        scenarios = report.get("scenarios", {})
        assert isinstance(scenarios, dict)
        self._scenarios = {name: read_findings(one) for name, one in scenarios.items()}
        self._named = {one.variant: one for one in self.columns}
        self._ratios = {name: one for name, one in summary.items() if "_by_seed" not in name}
        self._seeds = {name: one for name, one in summary.items() if "_by_seed" in name}

    @property
    def scenarios(self) -> Sequence[Findings]:
        """What the scenarios found."""
        return [*self._scenarios.values()]

    def block(self, name: str) -> str:
        """Return the text of the block *name*, with when and where that was measured."""
        match name:
            case "summary":
                text = self._summary()
            case "promises":
                text = markdown(self.scenarios) + _PROMISES if self._scenarios else _UNMEASURED
            case _ if name.startswith("scenario_"):
                text = self._scenario(name.removeprefix("scenario_"))
            case "variants":
                notes = "".join(f"- {text}\n" for text in remarks(self.workload, self.columns))
                text = f"{_table('', ROWS, [(one.variant, one) for one in self.columns])}\n{notes}"
            case _:
                text = self._layer(name)
        return text if text == _UNMEASURED else f"{text}\n{self._measured}\n"

    def _summary(self) -> str:
        baseline, after = self._named["baseline"], self._named["all"]
        rows = [
            "| | original | all layers | ratio | each seed | target |",
            "|---|---|---|---|---|---|",
        ]
        for title, name, form, ratio, aim in _SUMMARY:
            value = self._ratios.get(ratio)
            ratio_text = "" if value is None else f"{value:.2g}"
            seeds = ", ".join(f"{one:.2g}" for one in self._seeds.get(f"{ratio}_by_seed", []))
            cells = [cell(one, name, form) for one in (baseline, after)]
            rows.append(f"| {' | '.join([title, *cells, ratio_text, seeds, aim])} |")
        return "\n".join(rows) + "\n"

    def _scenario(self, name: str) -> str:
        found = self._scenarios.get(name)
        return _UNMEASURED if found is None else page_of(found)

    def _layer(self, layer: str) -> str:
        rows = {
            "all layers": "all",
            f"all but `{layer}`": f"-{layer}",
            f"`{layer}` alone": f"+{layer}",
            "no layer": "none",
        }
        found = [(title, self._named[n]) for title, n in rows.items() if n in self._named]
        return _table("", _LAYER, found)


def _table(
    head: str,
    columns: Sequence[tuple[str, str, str]],
    rows: Sequence[tuple[str, Figures]],
) -> str:
    titles = " | ".join(title for title, _, _ in columns)
    lines = [f"| {head} | {titles} |", "|---" * (len(columns) + 1) + "|"]
    for title, one in rows:
        cells = " | ".join(cell(one, name, form) for _, name, form in columns)
        lines.append(f"| {title} | {cells} |")
    return "\n".join(lines) + "\n"


def read() -> Measured:
    """Return the comparison that the pages show."""
    return Measured(json.loads((DOCS / "compare.json").read_text("utf-8")))


def outputs(measured: Measured) -> Iterator[tuple[Path, str]]:
    """Yield every file that shows *measured*, and what it should hold."""
    yield DOCS / "assets" / "compare.svg", picture(measured.columns)
    if measured.scenarios:
        yield DOCS / "assets" / "promises.svg", promises(measured.scenarios)
    for page in (ROOT / "README.md", *sorted(ROOT.glob("plugins/*/README.md"))):
        text = page.read_text("utf-8")
        written = _BLOCK.sub(lambda m: f"{m[1]}\n{measured.block(m[2])}\n{m[4]}", text)
        if _BLOCK.search(text):
            yield page, written


if __name__ == "__main__":
    for path, text in outputs(read()):
        path.write_text(text, "utf-8")
