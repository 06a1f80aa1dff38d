"""A comparison: one workload through every variant, then the scenarios, printed and written."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from attrs import asdict, frozen

from argo_mw.cli import console, say
from argo_mw_compare.figures import Figures, Seeds, Summary, figures, means, summarize
from argo_mw_compare.leave_one_out import left_out
from argo_mw_compare.report import WIDTH, headline, layers_of, page, remarks, table, tables_of
from argo_mw_compare.run import paced, run
from argo_mw_compare.scenarios.catalogue import run_scenarios
from argo_mw_compare.scenarios.picture import picture
from argo_mw_compare.scenarios.promise import Findings, by_key
from argo_mw_compare.scenarios.text import tables
from argo_mw_compare.workload import Workload


@frozen
class Whole:
    """One workload through every variant.

    Attributes:
        workload: The workload.
        seeds: The figures of each variant, by seed.
        summary: All layers against the baseline, means of the seeds.
    """

    workload: Workload
    seeds: Seeds
    summary: Summary

    @property
    def columns(self) -> Sequence[Figures]:
        """The means of each variant."""
        return [means([*by_seed.values()]) for by_seed in self.seeds.values()]

    @property
    def numbers(self) -> Mapping[str, int]:
        """How many seeds each variant was run with."""
        return {name: len(by_seed) for name, by_seed in self.seeds.items()}


def compare_all(
    workload: Workload, *, paces: bool, quick: bool, scenarios: Sequence[str], whole: bool
) -> tuple[Whole | None, Sequence[Findings], float]:
    """Measure and print; return the whole if it was wanted, the scenarios, and the seconds.

    Args:
        workload: The workload of the whole.
        paces: Whether a pilot finds the speed.
        quick: Whether only the baseline and all layers are run.
        scenarios: The names of the scenarios.
        whole: Whether the whole is run.
    """
    began = time.monotonic()
    out = console()
    out.width = max(out.width, WIDTH)
    measured = _whole(workload, paces=paces, quick=quick) if whole else None
    if measured is not None:
        out.print(table(measured.columns))
        for text in remarks(measured.workload, measured.columns, measured.numbers):
            out.print(text)
        for one in left_out(measured.seeds):
            out.print(f"{one.layer}: {one.in_words}")
        out.print(headline(measured.summary))
    findings = run_scenarios(scenarios, say=say)
    for found in findings:
        for made in tables(found):
            out.print(made)
        for sentence in found.said:
            out.print(sentence)
    seconds = round(time.monotonic() - began)
    out.print(f"The whole comparison took {seconds // 60} min {seconds % 60} s.")
    return measured, findings, seconds


def write_report(
    file: Path, whole: Whole | None, findings: Sequence[Findings], seconds: float
) -> None:
    """Write all figures to *file*, as JSON; of what was not measured, those that it holds stay."""
    report: dict[str, object] = _read(file) if whole is None or not findings else {}
    report |= {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "seconds": seconds,
    }
    if whole is not None:
        report |= {
            "workload": asdict(whole.workload),
            "figures": [
                {"seed": seed, **one.as_dict()}
                for by_seed in whole.seeds.values()
                for seed, one in by_seed.items()
            ],
            "summary": whole.summary,
            "leave_one_out": {one.layer: one.as_dict() for one in left_out(whole.seeds)},
        }
    if findings:
        known = report.get("scenarios")
        kept = known if isinstance(known, dict) else {}
        report["scenarios"] = kept | {one.scenario: one.as_dict() for one in findings}
        promises = report.get("promises")
        kept = promises if isinstance(promises, dict) else {}
        report["promises"] = kept | by_key(findings)
    file.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


def write_page(file: Path, whole: Whole | None, findings: Sequence[Findings]) -> None:
    """Write the page with plots to *file*: the promises, then the whole."""
    promises = f"<h1>What the plan promised</h1>{picture(findings)}" if findings else ""
    if whole is None:
        file.write_text(page(promises), "utf-8")
        return
    layers = layers_of(left_out(whole.seeds))
    of_whole = tables_of(whole.workload, whole.columns, whole.numbers, whole.summary)
    head = f"<p><strong>{headline(whole.summary)}</strong></p>"
    file.write_text(page(head + promises + layers + of_whole), "utf-8")


def last_line(whole: Whole | None, findings: Sequence[Findings]) -> str:
    """Return the figures that are compared with bars, as one line of JSON."""
    of_whole: dict[str, object] = {}
    if whole is not None:
        layers = left_out(whole.seeds)
        of_whole = whole.summary | {f"leave_one_out.{one.layer}": one.as_dict() for one in layers}
    return json.dumps(of_whole | by_key(findings))


def _whole(workload: Workload, *, paces: bool, quick: bool) -> Whole:
    chosen = paced(workload, say=say) if paces else workload
    found = run(chosen, quick=quick, say=say)
    seeds: dict[str, dict[int, Figures]] = {}
    for seed, several in found.items():
        for one in several:
            seeds.setdefault(one.variant.name, {})[seed] = figures(one)
    return Whole(chosen, seeds, summarize(seeds))


def _read(file: Path) -> dict[str, object]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
