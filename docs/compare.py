"""Write the measurements of ``make compare`` into the pages: ``python docs/compare.py``.

It takes the figures from ``docs/compare.json``, draws ``docs/assets/compare.svg``, and replaces
the text between ``<!-- measured: NAME -->`` and ``<!-- end -->``: ``summary`` is the baseline
against all layers, ``headline`` the same in a sentence, ``variants`` every variant,
``leave_one_out`` what each layer brings, the name of a layer what it brings and all layers without
it, ``promises`` what came of the plan's promises, and ``scenario_NAME`` all of one scenario.
A test fails when a page is out of date.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from argo_mw_compare.figures import Figures, means
from argo_mw_compare.interval import interval
from argo_mw_compare.leave_one_out import SHOWN_BY, WORTH_IT, left_out
from argo_mw_compare.report import ROWS, cell, headline, picture, remarks
from argo_mw_compare.scenarios.picture import picture as promises
from argo_mw_compare.scenarios.promise import Findings
from argo_mw_compare.scenarios.text import cells, markdown, page_of, read_findings
from argo_mw_compare.workload import INSTANCES, Workload

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
    ("signals for which no upstream was asked", "hit_rate", "{:.1%}", "hit_rate", "≥ 0.8"),
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
        seeds: dict[str, dict[int, Figures]] = {}
        for one in found:
            known = {name: value for name, value in one.items() if name != "seed"}
            figures = Figures(**known)
            seeds.setdefault(figures.variant, {})[one.get("seed", 0)] = figures
        self._several = seeds
        self.columns = [means([*by_seed.values()]) for by_seed in seeds.values()]
        self._left_out = {one.layer: one for one in left_out(seeds)}
        self.workload = Workload(**workload)
        date = datetime.fromisoformat(str(report["date"]))
        machine = f"Python {report['python']} and {report['cores']} cores"
        self._measured = f"Measured on {date.day} {date:%B %Y} with {machine}."
        scenarios = report.get("scenarios", {})
        assert isinstance(scenarios, dict)
        self._scenarios = {name: read_findings(one) for name, one in scenarios.items()}
        self._named = {one.variant: one for one in self.columns}
        self._ratios = summary

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
            case "headline":
                text = f"**{headline(self._ratios)}**\n"
            case "leave_one_out":
                text = self._what_layers_bring()
            case _ if name.startswith("scenario_"):
                text = self._scenario(name.removeprefix("scenario_"))
            case "variants":
                numbers = {name: len(by_seed) for name, by_seed in self._several.items()}
                texts = remarks(self.workload, self.columns, numbers)
                notes = "".join(f"- {text}\n" for text in texts)
                text = f"{_table('', ROWS, [(one.variant, one) for one in self.columns])}\n{notes}"
            case _:
                text = self._layer(name)
        return text if text == _UNMEASURED else f"{text}\n{self._measured}\n"

    def _summary(self) -> str:
        baseline, after = self._named["baseline"], self._named["all"]
        rows = [
            "| | original | all layers | ratio | 95 % interval | each seed | target |",
            "|---|---|---|---|---|---|---|",
            f"| instances, each restarted once | {INSTANCES} | {INSTANCES} | | | | |",
        ]
        for title, name, form, ratio, aim in _SUMMARY:
            value = self._ratios.get(ratio)
            ratio_text = "" if value is None else f"{value:.2g}"
            if not ratio.endswith("_ratio") and ratio_text:
                ratio_text = f"no ratio: {ratio_text}"
            bounds = self._ratios.get(f"{ratio}_interval") or []
            between = " to ".join(f"{one:.2g}" for one in bounds)
            known = (one for one in self._ratios.get(f"{ratio}_by_seed", []) if one is not None)
            seeds = ", ".join(f"{one:.2g}" for one in known)
            cells = [cell(one, name, form) for one in (baseline, after)]
            rows.append(f"| {' | '.join([title, *cells, ratio_text, between, seeds, aim])} |")
        return "\n".join(rows) + "\n"

    def _scenario(self, name: str) -> str:
        found = self._scenarios.get(name)
        return _UNMEASURED if found is None else page_of(found)

    def _what_layers_bring(self) -> str:
        if not self._left_out:
            return _UNMEASURED
        rows = [f"| `{one.layer}` | {one.in_words} |\n" for one in self._left_out.values()]
        costly = [f"`{one.layer}`" for one in self._left_out.values() if one.better_left_out]
        judged = (
            f"Better left out here: {', '.join(costly)}." if costly else "None is better left out."
        )
        table = f"| layer | in the whole, with it against without it |\n|---|---|\n{''.join(rows)}"
        return f"{table}\n{judged}\n"

    def _layer(self, layer: str) -> str:
        rows = {
            "all layers": "all",
            f"all but `{layer}`": f"-{layer}",
            f"`{layer}` alone": f"+{layer}",
            "no layer": "none",
        }
        found = [(title, self._several[n]) for title, n in rows.items() if n in self._several]
        titles = " | ".join(title for title, _, _ in _LAYER)
        lines = [f"|  | {titles} |", "|---" * (len(_LAYER) + 1) + "|"]
        for title, by_seed in found:
            cells = [_spread([*by_seed.values()], name, form) for _, name, form in _LAYER]
            lines.append(f"| {' | '.join([title, *cells])} |")
        brought = self._left_out.get(layer)
        words = "" if brought is None else f"\n`{layer}` in the whole: {brought.in_words}\n"
        return "\n".join(lines) + f"\n{words}{self._worth_it(layer)}"

    def _worth_it(self, layer: str) -> str:
        """Return where *layer* is worth switching on, and what its scenario shows of that."""
        if layer not in WORTH_IT:
            return ""
        text = f"\nSwitch `{layer}` on where {WORTH_IT[layer]}."
        found = self._scenarios.get(SHOWN_BY[layer])
        if found is None:
            return f"{text}\n"
        shown = "".join(
            f"- {title}: {before} → {after}\n"
            for title, before, after in (cells(one)[:3] for one in found.promises)
        )
        return f"{text} There, from the original to the chain (`{found.scenario}`):\n\n{shown}"


def _spread(several: Sequence[Figures], name: str, form: str) -> str:
    """Return the mean of one figure over seeds, and half of its interval where there is one."""
    mean = cell(means(several), name, form)
    known = [value for one in several if (value := getattr(one, name)) is not None]
    half = interval(known).half if len(known) > 1 else 0.0
    return f"{mean} ± {form.format(half)}" if half else mean


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
