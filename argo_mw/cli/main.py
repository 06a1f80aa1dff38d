"""The entry point, and the group that plugins add commands to."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import structlog

from argo_mw.base.errors import ArgoError
from argo_mw.cli.accept_loss import accept_loss
from argo_mw.cli.chain import explain, plugins
from argo_mw.cli.costs import costs
from argo_mw.cli.counters import counters
from argo_mw.cli.doctor import doctor
from argo_mw.cli.flags import flags
from argo_mw.cli.new_plugin import new_plugin
from argo_mw.cli.output import make_encodable, say, show_crash
from argo_mw.config import load
from argo_mw.registry import Plugins


class Failed(click.ClickException):
    """A command ended in an error that the framework raised on purpose."""

    exit_code = 1

    def show(self, file: object = None) -> None:
        say(f"argo-mw: {self.format_message()}")


class PluginGroup(click.Group):
    """A group whose further commands come from plugins, loaded when they are first looked for."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        # Before anything is parsed: help and errors of usage are output too.
        make_encodable()
        return super().make_context(info_name, args, parent, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        try:
            self._load(ctx)
        except ArgoError as error:
            # Help must come even when the configuration is broken: then most of all.
            say(f"argo-mw: {error}")
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        self._load(ctx)
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except ArgoError as error:
            raise Failed(str(error)) from error

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ArgoError as error:
            raise Failed(str(error)) from error

    def _load(self, ctx: click.Context) -> None:
        if ctx.meta.get("argo_mw.loaded"):
            return
        ctx.meta["argo_mw.loaded"] = True
        settings = load(ctx.params.get("config"))
        ctx.meta["argo_mw.settings"] = settings
        plugins = Plugins.load(block=settings.argo.block)
        brought: dict[str, str] = {}
        for plugin in plugins.names:
            before = dict(self.commands)
            plugins.call(plugin, "register_commands", cli=self)
            self._refuse_taken(plugin, before, brought)

    def _refuse_taken(
        self, plugin: str, before: Mapping[str, click.Command], brought: dict[str, str]
    ) -> None:
        """Refuse commands of *plugin* that replace others: no order tells whose a name is.

        Args:
            plugin: The plugin that has just added its commands.
            before: The commands that there were.
            brought: The plugins that have brought commands, by name; those of *plugin* are added.
        """
        for name, command in list(self.commands.items()):
            old = before.get(name)
            if command is old or (old is not None and _extends(command, old)):
                continue
            rival = brought.setdefault(name, plugin)
            if name in _OWN:
                assert old is not None
                self.commands[name] = old
                why = f"the command {name!r} of plugin {plugin!r} is not used: it is argo-mw's own"
            elif rival != plugin:
                del self.commands[name]
                why = (
                    f"the command {name!r} is that of both {rival!r} and {plugin!r}, so neither is "
                    "used; block one of these plugins"
                )
            else:
                continue
            say(f"argo-mw: {why}")


def _extends(command: click.Command, old: click.Command) -> bool:
    """Return whether *command* is a group that holds all that the group *old* does."""
    if not isinstance(command, click.Group) or not isinstance(old, click.Group):
        return False
    return old.commands.items() <= command.commands.items()


@click.group(cls=PluginGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="ARGO_MW_CONFIG",
    help="The configuration file; by default argo.toml in this directory.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log information too, not only warnings.")
@click.version_option(package_name="argo-mw", prog_name="argo-mw")
def cli(config: Path | None, verbose: bool) -> None:
    """Plugin-based middleware for programs that call slow, metered services.

    Exit codes: 0 done; 1 failed, with one line that says why; 2 wrong usage; 3 done in part.
    """
    _log(verbose)


def _log(verbose: bool) -> None:
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.INFO if verbose else logging.WARNING
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


cli.add_command(plugins)
cli.add_command(explain)
cli.add_command(costs)
cli.add_command(counters)
cli.add_command(flags)
cli.add_command(doctor)
cli.add_command(accept_loss)
cli.add_command(new_plugin)
_OWN = frozenset(cli.commands)


def main() -> None:
    """Run ``argo-mw``."""
    sys.excepthook = show_crash
    cli()
