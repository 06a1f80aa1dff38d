"""What the plugin registers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from argo_mw.plugin import AnyOperation, Codecs, ConfigError, Context, Upstream, hookimpl
from argo_mw_signals import hookspecs
from argo_mw_signals.analyst import Analyst
from argo_mw_signals.config import SignalsConfig
from argo_mw_signals.operations import OPERATIONS
from argo_mw_signals.roster import Voice, roster
from argo_mw_signals.signal import Contribution, Missing, Signal
from argo_mw_signals.votes import Vote


class SignalsPlugin:
    """One for each application: it knows the voices."""

    def __init__(self) -> None:
        self._voices: tuple[Voice, ...] = ()

    @hookimpl
    def register_config(self) -> type:
        """The class of the table ``[plugins.signals]``."""
        return SignalsConfig

    @hookimpl
    def register_hookspecs(self) -> object:
        """The hook with which other plugins add voices."""
        return hookspecs

    @hookimpl
    def register_codecs(self, codecs: Codecs) -> None:
        """Let signals and votes travel."""
        codecs.register_fields(Signal, "signals.signal")
        codecs.register_fields(Contribution, "signals.contribution")
        codecs.register_fields(Missing, "signals.missing")
        codecs.register_fields(Vote, "signals.vote")

    @hookimpl
    def register_data_types(self) -> Iterable[str]:
        """The kinds of data that its operations answer with."""
        return ("indicators", "sentiment", "consensus")

    @hookimpl
    def register_operations(self) -> Iterable[AnyOperation]:
        """``signal``, and one operation per voice."""
        return OPERATIONS

    @hookimpl
    def register_upstreams(self, config: SignalsConfig, context: Context) -> Iterable[Upstream]:
        """The analyst."""
        return [Analyst(config, context, self._hear).upstream()]

    @hookimpl
    def register_commands(self, cli: click.Group) -> None:
        """``argo-mw signals``."""
        from argo_mw_signals.commands import add_to

        add_to(cli)

    @hookimpl
    async def startup(self, config: SignalsConfig, context: Context) -> None:
        """Ask the other plugins for their voices."""
        self._voices = roster(config, context.collect("register_voices"))

    @hookimpl
    async def config_changed(self, config: SignalsConfig, context: Context) -> None:
        """Ask them again, and forget the signals that were made by the old weights.

        What cannot be used while calls are under way leaves the voices as they are.
        """
        try:
            self._voices = roster(config, context.collect("register_voices"))
        except ConfigError as error:
            context.warn_once("plugin signals", f"{error}; the voices stay as they were")
            return
        await context.invalidate(["op:signal", "op:voice_news"])

    def _hear(self) -> Sequence[Voice]:
        return self._voices
