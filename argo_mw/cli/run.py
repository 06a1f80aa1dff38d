"""Running a command with its configuration, on an event loop of its own."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Concatenate, Final, ParamSpec

import click
from attrs import frozen

from argo_mw.app.application import Argo
from argo_mw.config import Settings, load

P = ParamSpec("P")

no_commands: Final = ()
"""What a plugin names in the entry-point group ``argo_mw.commands`` that brings no command."""


@frozen
class ExitCode:
    """The exit codes of ``argo-mw``."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PARTLY = 3


def current_settings() -> Settings:
    """Return the running command's settings: from ``--config``, the environment, or defaults."""
    context = click.get_current_context()
    settings = context.find_root().meta.get("argo_mw.settings")
    if isinstance(settings, Settings):
        return settings
    return load(named_config())


def named_config() -> Path | None:
    """Return the configuration file that the running command names, if it names one."""
    named: Path | None = click.get_current_context().find_root().params.get("config")
    return named


def with_argo(
    function: Callable[Concatenate[Argo, P], Awaitable[None]],
) -> Callable[P, None]:
    """Run *function*, an async command, with an open :class:`~argo_mw.Argo` as first argument."""

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        settings = current_settings()

        async def run() -> None:
            async with Argo(settings, serves=False) as argo:
                await function(argo, *args, **kwargs)

        asyncio.run(run())

    return command
