"""The command ``argo-mw compare``, which is all that the plugin brings beside ``argo-mw demo``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from argo_mw.cli import console, echo, say


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
@click.option("--json", "json_file", type=ReportFile(), help="Write all figures there.")
@click.option("--html", "html_file", type=ReportFile(), help="Write a page with plots there.")
def compare(
    symbols: int,
    hours: float,
    speed: float | None,
    seed: int,
    quick: bool,
    json_file: Path | None,
    html_file: Path | None,
) -> None:
    """Measure what the layers gain against the baseline, with and without each.

    One workload runs through a sandbox on loopback for every variant. The last line is JSON.
    """
    import json
    import platform
    import time
    from datetime import UTC, datetime

    from attrs import asdict, evolve

    from argo_mw_compare.figures import baseline_and_all, figures, medians, ratios
    from argo_mw_compare.report import WIDTH, page, remarks, table
    from argo_mw_compare.run import paced, run
    from argo_mw_compare.workload import Workload

    began = time.monotonic()
    workload = Workload(symbols=symbols, hours=hours, seed=seed)
    workload = paced(workload, say=say) if speed is None else evolve(workload, speed=speed)
    found = run(workload, quick=quick, say=say)
    by_seed = {seed: [figures(one) for one in several] for seed, several in found.items()}
    columns = by_seed[workload.seed]
    summary = medians([ratios(*baseline_and_all(several)) for several in by_seed.values()])
    out = console()
    out.width = max(out.width, WIDTH)
    out.print(table(columns))
    for text in remarks(workload, columns):
        out.print(text)
    seconds = round(time.monotonic() - began)
    out.print(f"The whole comparison took {seconds // 60} min {seconds % 60} s.")
    if json_file is not None:
        report = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "seconds": seconds,
            "workload": asdict(workload),
            "figures": [one.as_dict() for one in columns],
            "summary": summary,
        }
        json_file.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    if html_file is not None:
        html_file.write_text(page(workload, columns, summary), "utf-8")
    echo(json.dumps(summary))
