"""``argo-mw demo``: runs the demo and prints it."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import click

from argo_mw.cli import ExitCode, console, echo


@click.command()
@click.argument("symbols", nargs=-1)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with your own SYMBOL.csv, .csv.gz or .parquet bars.",
)
@click.option("--json", "only_json", is_flag=True, help="Print nothing but the JSON.")
@click.option(
    "--watch", "watched", is_flag=True, help="Keep signals flowing, and open the dashboard."
)
def demo(symbols: tuple[str, ...], data: Path | None, only_json: bool, watched: bool) -> None:
    """Show what the layers gain: a service as it was and behind the chain, side by side.

    Both ask for trading signals from replayed real prices, with the opinions of models, in half a
    minute. A sandbox on loopback plays the vendors; nothing leaves this machine. The last line is
    JSON.
    """
    import json
    import sys

    if watched:
        _watch(symbols, data)
    from argo_mw_compare.demo import run
    from argo_mw_compare.demo_text import as_json, show

    with console(stderr=True).status("starting the sandbox …") as status:
        report = run(symbols, data, say=status.update)
    if not only_json:
        show(report, console())
    echo(json.dumps(as_json(report)))
    if not report.agrees or report.chain.figures.failed:
        sys.exit(ExitCode.PARTLY)


def _watch(symbols: tuple[str, ...], data: Path | None) -> NoReturn:
    """Let the sandbox show signals in the dashboard until it is interrupted."""
    import os
    import subprocess
    import sys
    from contextlib import suppress

    named = [] if data is None else ["--data", str(data)]
    command = [sys.executable, "-m", "argo_mw_sandbox.watch", *named, "--", *symbols]
    if sys.platform == "win32":
        with suppress(KeyboardInterrupt):  # the child is interrupted too
            sys.exit(subprocess.run(command, check=False).returncode)  # noqa: S603 (our own program)
        sys.exit()
    # In place of this process, so that what ends the command ends the sandbox.
    os.execv(sys.executable, command)  # noqa: S606 (our own program)
