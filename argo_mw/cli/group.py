"""The group of all commands: each is imported when it is asked for, and listed without that."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import EntryPoint
from types import MappingProxyType
from typing import Any, Final

import click
from attrs import define, field

from argo_mw.base.errors import ArgoError, PluginError
from argo_mw.cli.output import make_encodable, say
from argo_mw.cli.summary import docstring_of
from argo_mw.config import load
from argo_mw.registry.discovery import (
    COMMANDS,
    InstalledCommands,
    InstalledPlugin,
    discover_commands,
)

_META: Final = "argo_mw.commands"
_CORE: Final = "argo-mw"


class Failed(click.ClickException):
    """A command ended in an error that the framework raised on purpose."""

    exit_code = 1

    def show(self, file: object = None) -> None:
        say(f"argo-mw: {self.format_message()}")


@define
class _Installed:
    """What plugins bring, for one run of the program.

    Attributes:
        declared: The commands that entry points name.
        hooked: The plugins that may bring others, until they were asked.
    """

    declared: Mapping[str, InstalledPlugin] = field(factory=dict)
    hooked: list[InstalledPlugin] = field(factory=list)


class PluginGroup(click.Group):
    """A group of its own commands and of those that plugins bring.

    Plugins name their commands in the entry-point group ``argo_mw.commands``. A plugin that names
    none is imported, and asked by the hook ``register_commands``, when all commands are listed,
    when one is sought that no entry point names, and when a group is used, to which it may add.

    Args:
        own: Where its own commands are, by name, as entry points name it: ``module:attribute``.
    """

    def __init__(
        self, *arguments: Any, own: Mapping[str, str] = MappingProxyType({}), **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._own = {name: EntryPoint(name, value, COMMANDS) for name, value in own.items()}

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
        declared: Mapping[str, InstalledPlugin] = {}
        try:
            declared = self._installed(ctx).declared
            self._ask_hooks(ctx)
        except ArgoError as error:
            # Help must come even when the configuration is broken: then most of all.
            say(f"argo-mw: {error}")
        return sorted({*self._own, *declared, *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._own:
            return self._imported(self._own[cmd_name], _CORE)
        declared = self._installed(ctx).declared.get(cmd_name)
        if declared is not None:
            command = self._imported(declared.entry_point, declared.distribution)
            if not isinstance(command, click.Group):
                return command
        self._ask_hooks(ctx)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their summaries, read without importing plugins where possible."""
        names = self.list_commands(ctx)
        width = formatter.width - 6 - max(map(len, names))
        rows = []
        for name in names:
            command = self.commands.get(name) or self._described(ctx, name)
            if not command.hidden:
                rows.append((name, command.get_short_help_str(width)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

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

    def _described(self, ctx: click.Context, name: str) -> click.Command:
        """Return a command with the help of the command *name*, if not that command itself."""
        own = self._own.get(name)
        entry_point = own or self._installed(ctx).declared[name].entry_point
        text = docstring_of(entry_point)
        if text is not None:
            return click.Command(name, help=text)
        try:
            return self.get_command(ctx, name) or click.Command(name)
        except ArgoError as error:
            return click.Command(name, short_help=str(error))

    def _imported(self, entry_point: EntryPoint, distribution: str) -> click.Command:
        """Return the command that *entry_point* names.

        Raises:
            PluginError: It cannot be imported, or is not a command.
        """
        name = entry_point.name
        if name in self.commands:
            return self.commands[name]
        try:
            command = entry_point.load()
        except (Exception, SystemExit) as error:
            why = f"{type(error).__name__}: {error}"
            msg = f"the command {name!r} of {distribution} cannot be imported: {why}"
            raise PluginError(msg, plugin=distribution) from error
        if not isinstance(command, click.Command):
            msg = (
                f"the command {name!r} of {distribution} is a {type(command).__name__}: "
                f"{entry_point.value} must be a click.Command"
            )
            raise PluginError(msg, plugin=distribution)
        self.commands[name] = command
        return command

    def _installed(self, ctx: click.Context) -> _Installed:
        """Return what plugins bring that the configuration does not block.

        Raises:
            ConfigError: The configuration cannot be used.
        """
        meta = ctx.find_root().meta
        installed: _Installed | None = meta.get(_META)
        if installed is None:
            installed = meta[_META] = _Installed()
            settings = load(ctx.find_root().params.get("config"))
            meta["argo_mw.settings"] = settings
            found = discover_commands(settings.argo.block)
            installed.declared = self._undisputed(found)
            installed.hooked = list(found.hooked)
        return installed

    def _undisputed(self, found: InstalledCommands) -> Mapping[str, InstalledPlugin]:
        """Return the declared commands whose names are not the core's, or those of two plugins."""
        declared = {}
        for name, rivals in sorted(found.declared.items()):
            first, *others = rivals
            if name in self._own:
                say(_is_taken(name, first.distribution, _CORE))
            elif others:
                say(_is_both_s(name, first.distribution, others[0].distribution))
            else:
                declared[name] = first
        return declared

    def _ask_hooks(self, ctx: click.Context) -> None:
        """Let the plugins add commands that declare none."""
        installed = self._installed(ctx)
        hooked, installed.hooked = installed.hooked, []
        if not hooked:
            return
        from argo_mw.registry.loading import Plugins

        plugins = Plugins.load_some(hooked)
        adding = plugins.implementing("register_commands")
        if not adding:
            return
        for one in installed.declared.values():
            # Plugins may add to it. If it cannot be imported, that is said when it is asked for.
            with suppress(PluginError):
                self._imported(one.entry_point, one.distribution)
        taken = dict.fromkeys(self._own, _CORE)
        taken |= {name: one.distribution for name, one in installed.declared.items()}
        added: dict[str, str] = {}
        for plugin in adding:
            before = dict(self.commands)
            plugins.call(plugin, "register_commands", cli=self)
            for name, command in list(self.commands.items()):
                if command is before.get(name):
                    continue
                if name in taken:
                    self._put_back(name, before)
                    say(_is_taken(name, f"plugin {plugin!r}", taken[name]))
                elif (rival := added.setdefault(name, plugin)) != plugin:
                    del self.commands[name]
                    say(_is_both_s(name, repr(rival), repr(plugin)))

    def _put_back(self, name: str, before: Mapping[str, click.Command]) -> None:
        """Put the command *name* back as it was *before*."""
        del self.commands[name]
        if name in before:
            self.commands[name] = before[name]


def _is_taken(name: str, plugin: str, owner: str) -> str:
    return f"argo-mw: the command {name!r} of {plugin} is not used: it is that of {owner}"


def _is_both_s(name: str, one: str, other: str) -> str:
    return (
        f"argo-mw: the command {name!r} is that of both {one} and {other}, so neither is used; "
        "block one of these plugins"
    )
