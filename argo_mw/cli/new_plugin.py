"""``argo-mw new-plugin``: a distribution to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from argo_mw.base.errors import ConfigError
from argo_mw.cli.authoring import KINDS, write
from argo_mw.cli.output import say


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(list(KINDS)),
    default="layer",
    show_default=True,
    help="What the plugin brings.",
)
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=".",
    show_default=True,
    help="Where its folder is made.",
)
def new_plugin(name: str, kind: str, into: Path) -> None:
    """Write a complete distribution for a plugin called NAME.

    It installs, passes its own tests, and shows up in argo-mw plugins at once.
    """
    if kind == "command":
        _check(name.replace("_", "-"))
    made = write(name, kind, into)
    for file in made.files:
        click.echo(made.path / file)
    say(f'next: cd {made.path}; pip install -e ".[test]"; pytest; argo-mw plugins')


def _check(command: str) -> None:
    root = click.get_current_context().find_root()
    if isinstance(root.command, click.Group) and command in root.command.list_commands(root):
        msg = f"`argo-mw {command}` is a command already; choose another name"
        raise ConfigError(msg)
