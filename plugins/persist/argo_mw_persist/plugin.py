"""What the plugin registers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from argo_mw.plugin import (
    AnyOperation,
    Argo,
    Codecs,
    Context,
    Gauge,
    Guard,
    Layer,
    Upstream,
    context_of,
    hookimpl,
    plugin_of,
)
from argo_mw_persist import hookspecs
from argo_mw_persist.application import Persistence
from argo_mw_persist.config import PersistConfig
from argo_mw_persist.gauges import gauges
from argo_mw_persist.layer import NAME, Recorder
from argo_mw_persist.ledger import Ledger
from argo_mw_persist.reads import OPERATIONS, UPSTREAM, Reads
from argo_mw_persist.records import Answer, Signal, Voice
from argo_mw_persist.results import AnswerPage, Page, Performance, Spending
from argo_mw_persist.store import Store

if TYPE_CHECKING:
    import click


class PersistPlugin:
    """The plugin, one for each application."""

    def __init__(self) -> None:
        self._persistence: Persistence | None = None

    def persistence(self, context: Context) -> Persistence:
        """Return what the application has of this plugin."""
        if self._persistence is None:
            self._persistence = Persistence(context)
        return self._persistence

    @hookimpl
    def register_config(self) -> type:
        """The class of the table ``[plugins.persist]``."""
        return PersistConfig

    @hookimpl
    def register_hookspecs(self) -> object:
        """The hook by which others register sinks."""
        return hookspecs

    @hookimpl
    def register_data_types(self) -> Iterable[str]:
        """The kinds of data that its operations answer with."""
        return ("consensus",)

    @hookimpl
    def register_operations(self) -> Iterable[AnyOperation]:
        """The operations that read."""
        return OPERATIONS

    @hookimpl
    def register_codecs(self, codecs: Codecs) -> None:
        """What reads answer may be kept in a shared cache."""
        for kind in (Signal, Voice, Page, Performance, Answer, AnswerPage, Spending):
            codecs.register_fields(kind, f"{NAME}.{kind.__name__.lower()}")

    @hookimpl
    def register_upstreams(self, config: PersistConfig, context: Context) -> Iterable[Upstream]:
        """The store, as what answers them."""
        return [Reads(self.persistence(context).prepared(config)).upstream()]

    @hookimpl
    def register_layers(self, config: PersistConfig, context: Context) -> Iterable[Layer]:
        """The layer in its slot."""
        recorder = Recorder(self.persistence(context).prepared(config), config, context)
        return [Layer(NAME, recorder, slot=NAME, serves=recorder.serves)]

    @hookimpl
    def register_guards(
        self, config: PersistConfig, context: Context, upstream: Upstream
    ) -> Iterable[Guard]:
        """The ledger, for upstreams that cost something."""
        costs = upstream.metered or bool(upstream.price)
        if not config.ledger or upstream.name == UPSTREAM or not costs:
            return []
        store = self.persistence(context).prepared(config)
        return [Ledger(store, context.clock, lambda what: context.warn_once(NAME, what))]

    @hookimpl
    def register_gauges(self, context: Context) -> Iterable[Gauge]:
        """How much waits to be written, and how the connections are used."""
        return gauges(lambda: self.persistence(context).current)

    @hookimpl
    def register_commands(self, cli: click.Group) -> None:
        """``argo-mw signals …`` and ``argo-mw db …``."""
        from argo_mw_persist.commands import add_to

        add_to(cli)

    @hookimpl
    async def startup(self, config: PersistConfig, context: Context) -> None:
        """Open the store."""
        await self.persistence(context).open(config)

    @hookimpl
    async def config_changed(self, config: PersistConfig, context: Context) -> None:
        """Move over to another store when the configuration names another."""
        await self.persistence(context).open(config)

    @hookimpl
    async def shutdown(self, context: Context) -> None:
        """Write what is queued and close the store."""
        await self.persistence(context).aclose()

    @hookimpl
    async def diagnose(
        self, config: PersistConfig, context: Context
    ) -> Iterable[tuple[str, bool, str]]:
        """Whether the store can be read, and what is wrong with it."""
        store = self.persistence(context).store(config)
        try:
            problems = await store.sink.check()
        except Exception as error:
            return [(f"persist: {store.sink.place}", False, str(error))]
        found = "; ".join(problems) or f"well; {store.writer.held} records wait"
        return [(f"persist: {store.sink.place}", not problems, found)]


def store_of(argo: Argo) -> Store:
    """Return the store of *argo*.

    Raises:
        PluginError: The plugin is not in use there.
        Closed: *argo* is not open.
    """
    return plugin_of(argo, PersistPlugin).persistence(context_of(argo)).in_use()
