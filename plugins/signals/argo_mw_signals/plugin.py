"""The plugin: what it registers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from argo_mw.plugin import AnyOperation, Codecs, ConfigError, Context, Panel, Upstream, hookimpl
from argo_mw_signals import hookspecs, reads
from argo_mw_signals.analyst import Analyst
from argo_mw_signals.config import SignalsConfig
from argo_mw_signals.history import Database, WithRecordedSignals
from argo_mw_signals.operations import operations_for
from argo_mw_signals.recent import RecentSignals
from argo_mw_signals.recorded import RecordedSignal, RecordedVote
from argo_mw_signals.recording import DECLARATION
from argo_mw_signals.results import Performance, SignalPage
from argo_mw_signals.signal import Contribution, Missing, Signal
from argo_mw_signals.voice_registry import voices_in_use
from argo_mw_signals.votes import Vote


class SignalsPlugin(WithRecordedSignals):
    """The plugin, one for each application: it derives its operations from the voices."""

    def __init__(self) -> None:
        super().__init__()
        self._derived: tuple[AnyOperation, ...] = ()
        self._recent = RecentSignals()

    @hookimpl
    def register_config(self) -> type:
        """Return the class of the table ``[plugins.signals]``."""
        return SignalsConfig

    @hookimpl
    def register_hookspecs(self) -> object:
        """Return the hook with which other plugins add voices."""
        return hookspecs

    @hookimpl
    def register_codecs(self, codecs: Codecs) -> None:
        """Let signals and votes be kept in a shared store."""
        kinds = (Signal, Contribution, Missing, Vote)
        recorded = (RecordedSignal, RecordedVote, SignalPage, Performance)
        for kind in (*kinds, *recorded):
            codecs.register_fields(kind, f"signals.{kind.__name__.lower()}")

    @hookimpl
    def register_data_types(self) -> Iterable[str]:
        """Return the kinds of data that its operations answer with."""
        return ("indicators", "sentiment", "consensus")

    @hookimpl
    def register_operations(self) -> Iterable[AnyOperation]:
        """Return the reads of recorded signals."""
        return reads.OPERATIONS

    @hookimpl
    def register_derived_operations(
        self, config: SignalsConfig, context: Context, operations: Mapping[str, AnyOperation]
    ) -> Iterable[AnyOperation]:
        """Return ``signal``, with the voices that plugins register now, and the built-in voices.

        Voices that cannot be used leave the operations as they are.
        """
        try:
            voices = voices_in_use(config, context.collect("register_voices"))
        except ConfigError as error:
            if not self._derived:
                raise
            context.warn_once("plugin signals", f"{error}; the voices stay as they were")
            return self._derived
        self._derived = operations_for(voices, operations)
        return self._derived

    @hookimpl
    def register_upstreams(self, config: SignalsConfig, context: Context) -> Iterable[Upstream]:
        """Return the analyst, and the recorded signals."""
        analyst = Analyst(config, context, self._recent)
        return [analyst.upstream(), reads.SignalReads(self.recorded).upstream()]

    @hookimpl(optionalhook=True)
    def register_tables(self) -> Iterable[Mapping[str, object]]:
        """Return the table of signals, for the plugin persist."""
        return [DECLARATION]

    @hookimpl(optionalhook=True)
    def database_opened(self, database: Database) -> None:
        """Read recorded signals from the database of the plugin persist."""
        self.recorded.use(database)

    @hookimpl
    def register_panels(self) -> Iterable[Panel]:
        """Return the panel of the newest signals."""
        return [self._recent.panel()]

    @hookimpl
    async def config_changed(self, context: Context) -> None:
        """Forget the signals that were made by other weights or voices."""
        await context.invalidate(["op:signal", "op:voice_news"])
