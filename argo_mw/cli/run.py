"""Running a command with its configuration, on an event loop of its own."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Concatenate, Final, ParamSpec

import click
from attrs import frozen

import argo_mw
from argo_mw.config import Settings, load

P = ParamSpec("P")

no_commands: Final = ()
"""What a plugin names in the entry-point group ``argo_mw.commands`` that brings no command."""

own_flag: Final = ()
"""What a plugin names in the entry-point group ``argo_mw.flags`` whose only flag is its layer's."""

no_flags: Final = ()
"""What a plugin names in the entry-point group ``argo_mw.flags`` that brings no flag."""


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


def begin_log() -> None:
    """Write the log of this program as the options of the running command say."""
    from argo_mw.base.log_setup import set_up_log

    options = click.get_current_context().find_root().params
    level = logging.INFO if options.get("verbose") else logging.WARNING
    set_up_log(options.get("log") or "text", level=level)


def with_argo(
    function: Callable[Concatenate[argo_mw.Argo, P], Awaitable[None]],
) -> Callable[P, None]:
    """Run *function*, an async command, with an open :class:`~argo_mw.Argo` as first argument."""

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        from argo_mw.cli.ending import run_to_its_end

        settings = current_settings()

        async def run() -> None:
            async with argo_mw.Argo(settings, serves=False) as argo:
                await function(argo, *args, **kwargs)

        run_to_its_end(run())

    return command
