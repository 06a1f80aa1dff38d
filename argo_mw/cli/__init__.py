"""The command line: ``argo-mw``.

Plugins name their commands in the entry-point group ``argo_mw.commands``; a command that needs the
chain is an ``async def`` marked with :func:`with_argo`. A plugin without commands may name
``argo_mw.cli:no_commands`` there, and is then not imported when commands are listed. Likewise the
group ``argo_mw.flags`` names what knows a plugin's flags: a function, :data:`own_flag` or
:data:`no_flags`.
"""

from typing import TYPE_CHECKING

from argo_mw.base.lazy import lazily

if TYPE_CHECKING:
    from argo_mw.cli.ending import ending_signals
    from argo_mw.cli.output import echo, print_json, say
    from argo_mw.cli.run import (
        ExitCode,
        current_settings,
        no_commands,
        no_flags,
        own_flag,
        with_argo,
    )
    from argo_mw.cli.spread import spread
    from argo_mw.cli.terminal import console
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "ending": ("ending_signals",),
            "output": ("echo", "print_json", "say"),
            "run": (
                "ExitCode",
                "current_settings",
                "no_commands",
                "no_flags",
                "own_flag",
                "with_argo",
            ),
            "spread": ("spread",),
            "terminal": ("console",),
        },
    )

__all__ = [
    "ExitCode",
    "console",
    "current_settings",
    "echo",
    "ending_signals",
    "no_commands",
    "no_flags",
    "own_flag",
    "print_json",
    "say",
    "spread",
    "with_argo",
]
