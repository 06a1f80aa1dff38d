"""What the plugin registers: the command ``argo-mw compare``."""

from __future__ import annotations

from pathlib import Path

import click

from argo_mw import hookimpl
from argo_mw.cli import console, say


@hookimpl
def register_commands(cli: click.Group) -> None:
    """Add ``argo-mw compare``."""
    cli.add_command(compare)


@click.command()
@click.option("--symbols", type=click.IntRange(1, 200), default=6, show_default=True)
@click.option(
    "--hours", type=click.FloatRange(0, 6, min_open=True), default=0.25, show_default=True
)
@click.option(
    "--speed",
    type=click.FloatRange(0, min_open=True),
    help="How much faster time and latencies are; found by a pilot unless told.",
)
@click.option("--seed", default=0, show_default=True, help="What latencies follow from.")
@click.option("--quick", is_flag=True, help="Only before and all, not each layer.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--html", "html_file", type=click.Path(path_type=Path, dir_okay=False))
def compare(
    symbols: int,
    hours: float,
    speed: float | None,
    seed: int,
    quick: bool,
    json_file: Path | None,
    html_file: Path | None,
) -> None:
    """Measure what the layers gain against the original service, with and without each.

    One workload runs through a sandbox on loopback for every variant. The last line is JSON.
    """
    import json
    import os
    import platform
    import time
    from datetime import UTC, datetime

    from attrs import asdict, evolve

    from argo_mw_compare.figures import figures, medians, original_and_all, ratios
    from argo_mw_compare.report import WIDTH, page, remarks, table
    from argo_mw_compare.run import paced, run
    from argo_mw_compare.workload import Workload

    began = time.monotonic()
    workload = Workload(symbols=symbols, hours=hours, seed=seed)
    workload = paced(workload, say=say) if speed is None else evolve(workload, speed=speed)
    found = run(workload, quick=quick, say=say)
    by_seed = {seed: [figures(seen) for seen in several] for seed, several in found.items()}
    columns = by_seed[workload.seed]
    summary = medians([ratios(*original_and_all(several)) for several in by_seed.values()])
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
    click.echo(json.dumps(summary))
