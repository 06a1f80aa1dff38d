"""The plugin's state in one application: its store, across changes of the configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from argo_mw.plugin import Argo, Closed, Context, Row, context_of, plugin_of
from argo_mw_persist.config import PersistConfig
from argo_mw_persist.database import NAME, Database
from argo_mw_persist.schema import OWN_TABLES, Schema
from argo_mw_persist.sigterm import SigtermHandler
from argo_mw_persist.sqlite import MAX_HELD
from argo_mw_persist.store import RecordStore, StoreInUse
from argo_mw_persist.tables import declared

_SHARE = 0.03
NEWEST_BYTES = 1_500
"""The most bytes that a newest row takes in memory: a signal of four voices, not decoded."""


class Persistence:
    """The store of one application, and the previous one while the configuration changes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._config: PersistConfig | None = None
        self._schema: Schema | None = None
        self._opened: RecordStore | None = None
        self._sigterm: SigtermHandler | None = None
        self._newest: RecordStore | None = None
        self._announced = False

    @property
    def current(self) -> RecordStore | None:
        """The open store; before startup and after shutdown, a store that is not open."""
        return self._opened or self._newest

    def in_use(self) -> RecordStore:
        """Return the current store.

        Raises:
            Closed: There is none.
        """
        if self.current is None:
            msg = "the plugin persist is not in use in this application"
            raise Closed(msg)
        return self.current

    def store(self, config: PersistConfig) -> RecordStore:
        """Return the store for *config*, the same for the same configuration."""
        if self._newest is None or config != self._config:
            self._config = config
            self._newest = self._make(config)
        return self._newest

    def prepared(self, config: PersistConfig) -> StoreInUse:
        """Return a function that returns the store in use: once it is open, that for *config*."""
        self.store(config)
        return self.in_use

    async def open(self, config: PersistConfig) -> None:
        """Open the store for *config*, and close the one that it replaces."""
        store = self.store(config)
        if store is self._opened:
            return
        await store.open()
        before, self._opened = self._opened, store
        if before is not None:
            await before.aclose(timeout=config.flush_timeout)
        if config.on_sigterm and self._sigterm is None:
            self._sigterm = SigtermHandler(self._last_flush)
            self._sigterm.watch()
        if not self._announced:
            self._announced = True
            self._context.collect("database_opened", database=Database(self.in_use))

    async def aclose(self) -> None:
        """Write what is queued and close the store."""
        if self._sigterm is not None:
            self._sigterm.unwatch()
        await self._last_flush()

    async def _last_flush(self) -> None:
        store, self._opened = self._opened, None
        if store is not None and self._config is not None:
            await store.aclose(timeout=self._config.flush_timeout)

    def _make(self, config: PersistConfig) -> RecordStore:
        context = self._context
        if self._schema is None:
            self._schema = schema_of(context.collect("register_tables"))
        sink = config.bridged(
            context.state_dir,
            context.collect("register_sinks"),
            clock=context.clock,
            tasks=context.tasks,
            on_warning=self._warn,
            on_drained=self._invalidate_drained,
            held=context.memory.items_within(_SHARE, NEWEST_BYTES, MAX_HELD),
        )
        return RecordStore(
            sink,
            config.writer,
            clock=context.clock,
            schema=self._schema,
            invalidate=context.invalidate,
            on_warning=self._warn,
            retention=config.retention,
        )

    def _invalidate_drained(self, rows: Sequence[Row]) -> None:
        tags = {tag for row in rows for tag in row.tags}
        self._context.tasks.spawn("persist:drained", self._context.invalidate(tags))

    def _warn(self, what: str) -> None:
        self._context.warn_once(NAME, what)


class WithPersistence:
    """The base of the plugin's class, through which commands and programs find its state."""

    def __init__(self) -> None:
        self._persistence: Persistence | None = None

    def persistence(self, context: Context) -> Persistence:
        """Return the plugin's state in the application of *context*."""
        if self._persistence is None:
            self._persistence = Persistence(context)
        return self._persistence


def store_of(argo: Argo) -> RecordStore:
    """Return the store of *argo*.

    Raises:
        PluginError: The plugin is not in use there.
        Closed: *argo* is not open.
    """
    return plugin_of(argo, WithPersistence).persistence(context_of(argo)).in_use()


def schema_of(registered: Mapping[str, object]) -> Schema:
    """Return the schema of this plugin's tables and those that plugins *registered*.

    Raises:
        ConfigError: A declaration is malformed, or two tables have one name.
    """
    others = (table for plugin, answer in registered.items() for table in declared(plugin, answer))
    return Schema([*OWN_TABLES, *others])
