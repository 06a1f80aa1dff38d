"""The entry point, and where the core's own commands are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from argo_mw.cli.group import PluginGroup
from argo_mw.cli.output import show_crash
from argo_mw.cli.run import begin_log

if TYPE_CHECKING:
    from argo_mw.base.log_setup import LogForm

_OWN = {
    "accept-loss": "argo_mw.cli.accept_loss:accept_loss",
    "config": "argo_mw.cli.config:config",
    "costs": "argo_mw.cli.costs:costs",
    "counters": "argo_mw.cli.counters:counters",
    "doctor": "argo_mw.cli.doctor:doctor",
    "explain": "argo_mw.cli.chain:explain",
    "flags": "argo_mw.cli.flags:flags",
    "new-plugin": "argo_mw.cli.new_plugin:new_plugin",
    "plugins": "argo_mw.cli.chain:plugins",
    "top": "argo_mw.cli.top:top",
}
_BEGIN_THEIR_LOG = {"flags"}
"""Commands that must be quick: importing the library that writes the log is a third of their
time."""


@click.group(cls=PluginGroup, own=_OWN, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="ARGO_MW_CONFIG",
    help="The configuration file; by default argo.toml in this directory.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log information too, not only warnings.")
@click.option(
    "--log",
    type=click.Choice(["auto", "json", "text"]),
    default="text",
    show_default=True,
    envvar="ARGO_MW_LOG",
    help="How the log is written to standard error; auto means JSON unless that is a terminal.",
)
@click.version_option(package_name="argo-mw", prog_name="argo-mw")
def cli(config: Path | None, verbose: bool, log: LogForm) -> None:
    """Plugin-based middleware for programs that call slow, metered services.

    Exit codes: 0 done; 1 failed, with one line that says why; 2 wrong usage; 3 done in part.
    """
    if click.get_current_context().invoked_subcommand not in _BEGIN_THEIR_LOG:
        begin_log()


def main() -> None:
    """Run ``argo-mw``."""
    sys.excepthook = show_crash
    cli()
