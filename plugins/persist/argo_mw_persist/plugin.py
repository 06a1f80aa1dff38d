"""The plugin: what it registers."""

from __future__ import annotations

from collections.abc import Iterable

from argo_mw.plugin import (
    AnyOperation,
    Codecs,
    Context,
    CostTable,
    Gauge,
    Layer,
    Log,
    Upstream,
    hookimpl,
)
from argo_mw_persist import hookspecs
from argo_mw_persist.application import WithPersistence
from argo_mw_persist.config import PersistConfig
from argo_mw_persist.costs import ChargeTable
from argo_mw_persist.database import NAME
from argo_mw_persist.gauges import gauges
from argo_mw_persist.layer import Recorder
from argo_mw_persist.reads import OPERATIONS, AnswerReads
from argo_mw_persist.records import Answer
from argo_mw_persist.results import AnswerPage, Spending

log = Log("argo_mw_persist")


class PersistPlugin(WithPersistence):
    """The plugin, one for each application."""

    @hookimpl
    def register_config(self) -> type:
        """Return the class of the table ``[plugins.persist]``."""
        return PersistConfig

    @hookimpl
    def register_hookspecs(self) -> object:
        """Return the hooks by which other plugins register sinks and tables."""
        return hookspecs

    @hookimpl
    def register_operations(self) -> Iterable[AnyOperation]:
        """Return the operations that read."""
        return OPERATIONS

    @hookimpl
    def register_codecs(self, codecs: Codecs) -> None:
        """Let the answers of reads be kept in a shared cache."""
        for kind in (Answer, AnswerPage, Spending):
            codecs.register_fields(kind, f"{NAME}.{kind.__name__.lower()}")

    @hookimpl
    def register_upstreams(self, config: PersistConfig, context: Context) -> Iterable[Upstream]:
        """Return the store, which answers them."""
        return [AnswerReads(self.persistence(context).prepared(config)).upstream()]

    @hookimpl
    def register_layers(self, config: PersistConfig, context: Context) -> Iterable[Layer]:
        """Return the layer in its slot."""
        recorder = Recorder(self.persistence(context).prepared(config), config, context)
        return [Layer(NAME, recorder, slot=NAME, serves=recorder.serves)]

    @hookimpl
    def register_cost_table(self, config: PersistConfig, context: Context) -> CostTable | None:
        """Return the table ``charges``."""
        if not config.costs:
            return None
        return ChargeTable(self.persistence(context).prepared(config), log.error)

    @hookimpl
    def register_gauges(self, context: Context) -> Iterable[Gauge]:
        """Return gauges of what waits to be written and of how the connections are used."""
        return gauges(lambda: self.persistence(context).current)

    @hookimpl
    async def startup(self, config: PersistConfig, context: Context) -> None:
        """Open the store."""
        await self.persistence(context).open(config)

    @hookimpl
    async def config_changed(self, config: PersistConfig, context: Context) -> None:
        """Switch to another store if the configuration names another."""
        await self.persistence(context).open(config)

    @hookimpl
    async def shutdown(self, context: Context) -> None:
        """Write what is queued and close the store."""
        await self.persistence(context).aclose()

    @hookimpl
    async def diagnose(
        self, config: PersistConfig, context: Context
    ) -> Iterable[tuple[str, bool, str]]:
        """Report whether the store can be read, and what is wrong with it."""
        store = self.persistence(context).store(config)
        try:
            problems = await store.sink.check()
        except Exception as error:
            return [(f"persist: {store.sink.place}", False, str(error))]
        found = "; ".join(problems) or f"well; {store.writer.held} rows wait"
        return [(f"persist: {store.sink.place}", not problems, found)]
