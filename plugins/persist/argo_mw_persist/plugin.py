"""What the plugin registers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from argo_mw import Closed, Codecs, Context, Gauge, Guard, Layer, Operation, Upstream, hookimpl
from argo_mw_persist import hookspecs
from argo_mw_persist.config import PersistConfig
from argo_mw_persist.gauges import gauges
from argo_mw_persist.layer import NAME, Recorder
from argo_mw_persist.ledger import Ledger
from argo_mw_persist.reads import OPERATIONS, UPSTREAM, Reads
from argo_mw_persist.records import Answer, Signal, Voice
from argo_mw_persist.results import AnswerPage, Page, Performance, Spending
from argo_mw_persist.store import Store, StoreInUse
from argo_mw_persist.tables import Entry
from argo_mw_persist.termination import Termination

if TYPE_CHECKING:
    import click


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
            await before.aclose(within=config.flush_within)
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
            await store.aclose(within=self._config.flush_within)

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
        self._context.trouble(NAME, what)


_applications: WeakKeyDictionary[Context, Persistence] = WeakKeyDictionary()


def _persistence(context: Context) -> Persistence:
    if context not in _applications:
        _applications[context] = Persistence(context)
    return _applications[context]


def store_of(context: Context) -> Store:
    """The store of the application that *context* belongs to: ``store_of(argo.context)``.

    Raises:
        Closed: The plugin is not in use there.
    """
    return (_applications.get(context) or Persistence(context)).in_use()


@hookimpl
def register_config() -> type:
    """The class of the table ``[plugins.persist]``."""
    return PersistConfig


@hookimpl
def register_hookspecs() -> object:
    """The hook by which others register sinks."""
    return hookspecs


@hookimpl
def register_operations() -> Iterable[Operation]:
    """The operations that read."""
    return OPERATIONS


@hookimpl
def register_codecs(codecs: Codecs) -> None:
    """What reads answer may be kept in a shared cache."""
    for kind in (Signal, Voice, Page, Performance, Answer, AnswerPage, Spending):
        codecs.register_attrs(kind, f"{NAME}.{kind.__name__.lower()}")


@hookimpl
def register_upstreams(config: PersistConfig, context: Context) -> Iterable[Upstream]:
    """The store, as what answers them."""
    return [Reads(_persistence(context).prepared(config)).upstream()]


@hookimpl
def register_layer(config: PersistConfig, context: Context) -> Layer:
    """The layer in its slot."""
    recorder = Recorder(_persistence(context).prepared(config), config, context)
    return Layer(NAME, recorder, slot=NAME, serves=recorder.serves, explain=recorder.explain)


@hookimpl
def register_guards(config: PersistConfig, context: Context, upstream: Upstream) -> Iterable[Guard]:
    """The ledger, for upstreams that cost something."""
    costs = upstream.metered or bool(upstream.price)
    if not config.ledger or upstream.name == UPSTREAM or not costs:
        return []
    store = _persistence(context).prepared(config)
    return [Ledger(store, context.clock, lambda what: context.trouble(NAME, what))]


@hookimpl
def register_gauges(context: Context) -> Iterable[Gauge]:
    """How much waits to be written, and how the connections are used."""
    return gauges(lambda: _persistence(context).current)


@hookimpl
def register_commands(cli: click.Group) -> None:
    """``argo-mw signals …`` and ``argo-mw db …``."""
    from argo_mw_persist.commands import add_to

    add_to(cli)


@hookimpl
async def startup(config: PersistConfig, context: Context) -> None:
    """Open the store."""
    await _persistence(context).open(config)


@hookimpl
async def config_changed(config: PersistConfig, context: Context) -> None:
    """Move over to another store when the configuration names another."""
    await _persistence(context).open(config)


@hookimpl
async def shutdown(context: Context) -> None:
    """Write what is queued and close the store."""
    await _persistence(context).aclose()


@hookimpl
async def diagnose(config: PersistConfig, context: Context) -> Iterable[tuple[str, bool, str]]:
    """Whether the store can be read, and what is wrong with it."""
    store = _persistence(context).store(config)
    try:
        problems = await store.sink.check()
    except Exception as error:
        return [(f"persist: {store.sink.place}", False, str(error))]
    found = "; ".join(problems) or f"well; {store.writer.held} records wait"
    return [(f"persist: {store.sink.place}", not problems, found)]
