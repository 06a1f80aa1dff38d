"""``argo-mw new-plugin``: a distribution to begin with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from argo_mw.base.errors import ArgoError, ConfigError
from argo_mw.cli.authoring import CORE_KINDS, known_kinds, write
from argo_mw.cli.output import echo, say
from argo_mw.cli.run import current_settings
from argo_mw.registry import Plugins, PluginTemplate


class _NewPlugin(click.Command):
    """A command whose kinds are those of the installed plugins, read when it is used."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        params = super().get_params(ctx)
        for param in params:
            if param.name == "kind":
                param.type = click.Choice(list(_kinds(ctx)))
        return params

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Kinds"):
            formatter.write_dl([(kind, one.summary) for kind, one in _kinds(ctx).items()])


@click.command("new-plugin", cls=_NewPlugin)
@click.argument("name")
@click.option(
    "--kind", type=click.STRING, default="layer", show_default=True, help="What the plugin brings."
)
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=".",
    show_default=True,
    help="Where its folder is made.",
)
@click.pass_context
def new_plugin(ctx: click.Context, name: str, kind: str, into: Path) -> None:
    """Write a complete distribution for a plugin called NAME.

    It can be installed at once, passes its own tests, and shows up in argo-mw plugins.
    """
    if kind == "command":
        _check(name.replace("_", "-"))
    made = write(name, kind, into, _kinds(ctx))
    for file in made.files:
        echo(str(made.path / file))
    say(f'next: cd {made.path}; pip install -e ".[test]"; pytest; argo-mw plugins')


def _kinds(ctx: click.Context) -> Mapping[str, PluginTemplate]:
    """Return the known kinds, once for each run of the command."""
    kinds: Mapping[str, PluginTemplate] | None = ctx.meta.get("argo_mw.kinds")
    if kinds is None:
        try:
            with ctx.scope(cleanup=False):
                settings = current_settings()
            kinds = known_kinds(Plugins.load(block=settings.argo.block))
        except ArgoError as error:
            # A plugin can be begun, and help be read, whatever the configuration is like.
            say(f"argo-mw: only the core's kinds are known: {error}")
            kinds = CORE_KINDS
        ctx.meta["argo_mw.kinds"] = kinds
    return kinds


def _check(command: str) -> None:
    root = click.get_current_context().find_root()
    if isinstance(root.command, click.Group) and command in root.command.list_commands(root):
        msg = f"`argo-mw {command}` is a command already; choose another name"
        raise ConfigError(msg)
