"""The command line: ``argo-mw``.

Plugins add commands with the hook ``register_commands``; a command that
needs the chain is an ``async def`` marked with :func:`with_argo`.
"""

from argo_mw.cli.output import console, echo, print_json, say
from argo_mw.cli.run import ExitCode, current_settings, with_argo

__all__ = ["ExitCode", "console", "current_settings", "echo", "print_json", "say", "with_argo"]
