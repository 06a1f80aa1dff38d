"""The command ``argo-mw compare``, which is all that the plugin brings beside ``argo-mw demo``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from argo_mw.cli import echo
from argo_mw_compare.scenarios.names import SCENARIOS


class ReportFile(click.Path):
    """A file to be written after the measurements; what prevents that is reported before them."""

    name = "file"

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False, writable=True)

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """Return *value* as a path in a folder that exists."""
        path = Path(str(super().convert(str(value), param, ctx)))
        if not os.access(path.absolute().parent, os.W_OK):
            self.fail(f"{path} cannot be written: make its folder, or choose another", param, ctx)
        return path


@click.command()
@click.option(
    "--symbols",
    type=click.IntRange(1, 200),
    default=6,
    show_default=True,
    help="How many: five real ones, then synthetic ones.",
)
@click.option(
    "--hours",
    type=click.FloatRange(0, 6, min_open=True),
    default=0.25,
    show_default=True,
    help="How many of the day are replayed.",
)
@click.option(
    "--speed",
    type=click.FloatRange(0, min_open=True),
    help="How much faster time and latencies are; by default found by a pilot.",
)
@click.option("--seed", default=0, show_default=True, help="The seed of latencies.")
@click.option("--quick", is_flag=True, help="Only baseline and all, not each layer.")
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    metavar="NAME",
    help=f"Only what the plan promised of a situation: {', '.join(SCENARIOS)}, or all; repeatable.",
)
@click.option("--json", "json_file", type=ReportFile(), help="Write all figures there.")
@click.option("--html", "html_file", type=ReportFile(), help="Write a page with plots there.")
def compare(
    symbols: int,
    hours: float,
    speed: float | None,
    seed: int,
    quick: bool,
    scenarios: tuple[str, ...],
    json_file: Path | None,
    html_file: Path | None,
) -> None:
    """Measure what the layers gain against the baseline, with and without each.

    One workload runs through a sandbox on loopback for every variant, and then each scenario shows
    what the plan promised of it. The last line is JSON.
    """
    from attrs import evolve

    from argo_mw_compare.comparison import compare_all, last_line, write_page, write_report
    from argo_mw_compare.scenarios.catalogue import known_scenarios
    from argo_mw_compare.workload import Workload

    chosen = known_scenarios(scenarios) if scenarios or not quick else ()
    workload = Workload(symbols=symbols, hours=hours, seed=seed)
    whole, findings, seconds = compare_all(
        workload if speed is None else evolve(workload, speed=speed),
        paces=speed is None,
        quick=quick,
        scenarios=chosen,
        whole=not scenarios,
    )
    if json_file is not None:
        write_report(json_file, whole, findings, seconds)
    if html_file is not None:
        write_page(html_file, whole, findings)
    echo(last_line(whole, findings))
