"""What one application has of this plugin: its store, across changes of the configuration."""

from __future__ import annotations

from collections.abc import Iterable

from argo_mw.plugin import Closed, Context
from argo_mw_persist.config import PersistConfig
from argo_mw_persist.layer import NAME
from argo_mw_persist.store import Store, StoreInUse
from argo_mw_persist.tables import Entry
from argo_mw_persist.termination import Termination


class Persistence:
    """The store of one application, and the one before it while the configuration changes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._config: PersistConfig | None = None
        self._opened: Store | None = None
        self._termination: Termination | None = None
        self._newest: Store | None = None

    @property
    def current(self) -> Store | None:
        """The open store; before the start and after the end, the one that is not open."""
        return self._opened or self._newest

    def in_use(self) -> Store:
        """The same, where there is one.

        Raises:
            Closed: There is none.
        """
        if self.current is None:
            msg = "the plugin persist is not in use in this application"
            raise Closed(msg)
        return self.current

    def store(self, config: PersistConfig) -> Store:
        """The store for *config*, the same for the same configuration."""
        if self._newest is None or config != self._config:
            self._config = config
            self._newest = self._make(config)
        return self._newest

    def prepared(self, config: PersistConfig) -> StoreInUse:
        """The store in use, which will be that for *config* once it is open."""
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
            await before.aclose(timeout=config.flush_within)
        if config.on_sigterm and self._termination is None:
            self._termination = Termination(self._last_flush)
            self._termination.watch()

    async def aclose(self) -> None:
        """Write what is queued and close the store."""
        if self._termination is not None:
            self._termination.unwatch()
        await self._last_flush()

    async def _last_flush(self) -> None:
        store, self._opened = self._opened, None
        if store is not None and self._config is not None:
            await store.aclose(timeout=self._config.flush_within)

    def _make(self, config: PersistConfig) -> Store:
        context = self._context
        sink = config.bridged(
            context.state_dir,
            context.collect("register_sinks"),
            clock=context.clock,
            tasks=context.tasks,
            said=self._said,
            drained=self._drained,
        )
        return Store(
            sink,
            config.writer,
            clock=context.clock,
            changed=context.invalidate,
            said=self._said,
            retention=config.retention,
        )

    def _drained(self, entries: Iterable[Entry]) -> None:
        tags = {tag for entry in entries for tag in entry.tags}
        self._context.tasks.spawn("persist:drained", self._context.invalidate(tags))

    def _said(self, what: str) -> None:
        self._context.warn_once(NAME, what)
