"""A group whose commands are imported when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint
from typing import Any

import click


class LazyGroup(click.Group):
    """A group with further commands in other modules, each imported when it is asked for.

    Args:
        own: Where they are, by name, as entry points name it: ``module:attribute``.
    """

    def __init__(self, *arguments: Any, own: Mapping[str, str], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._own = {name: EntryPoint(name, value, "") for name, value in own.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self._own, *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._own and cmd_name not in self.commands:
            self.commands[cmd_name] = self._own[cmd_name].load()
        return super().get_command(ctx, cmd_name)
