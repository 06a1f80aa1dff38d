"""The application object: opens what calls need, and closes it again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar, cast
from urllib.parse import quote

import platformdirs
from attrs import evolve

from argo_mw.build import Builder, Parts
from argo_mw.caller import Caller
from argo_mw.clock import Clock, SystemClock
from argo_mw.codec import Codecs, Envelope
from argo_mw.config import Settings, load, parse
from argo_mw.context import Context
from argo_mw.engine import Engine
from argo_mw.errors import ArgoError, Closed, ConfigError
from argo_mw.events import Events, Observer
from argo_mw.explain import Explained, explain
from argo_mw.flags import Flag
from argo_mw.flags.overlay import Overlay
from argo_mw.flags.sources import configured_rule, unknown_flag
from argo_mw.log import Log
from argo_mw.operation import Accept, DataType, Kind, Scope, accept_anything, operation
from argo_mw.outcome import Attempt, Cost, Note, Outcome
from argo_mw.registry import Broken, Plugins
from argo_mw.shared.urls import OpenShared, open_shared
from argo_mw.stamps import Stamps
from argo_mw.tasks import Tasks
from argo_mw.watch import watch
from argo_mw.wrap import check, upstream_of, wrapped

P = ParamSpec("P")
R = TypeVar("R")

STATE_DIR = "ARGO_MW_STATE_DIR"
_ALONE = "memory://"
log = Log("argo_mw")


class Argo(Caller):
    """A chain of plugins around every call.

    Open it with :meth:`open` in an ``async with`` statement and ask it with :meth:`call`,
    :meth:`outcome` and :meth:`map`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        plugins: Mapping[str, object] | None = None,
        installed: bool = True,
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._events = Events()
        self._tasks = Tasks()
        self._given: dict[str, Parts] = {}
        self._wrapped: dict[str, Callable[..., object]] = {}
        self._builder: Builder | None = None
        self._context: Context | None = None
        self._started: list[str] = []
        self._observers: dict[str, tuple[Observer, ...]] = {}
        self._stopping = False
        self._plugins = Plugins.load(
            block=settings.argo.block,
            strict=settings.argo.strict,
            extra=plugins,
            installed=installed,
        )
        engine = Engine(self._plugins, self._clock, self._events, self._tasks)
        super().__init__(engine, tenant=settings.argo.tenant)

    @classmethod
    def open(
        cls,
        config: str | Path | Mapping[str, object] | Settings | None = None,
        *,
        clock: Clock | None = None,
        plugins: Mapping[str, object] | None = None,
        installed: bool = True,
    ) -> Self:
        """An application for *config*, to be entered with ``async with``.

        Args:
            config: The path of an ``argo.toml``, a table of its form, or settings. Without
                one: the file named by ``ARGO_MW_CONFIG``, else ``argo.toml`` in the working
                directory, else defaults that need no server.
            clock: Where time comes from; the machine's unless told.
            plugins: Further plugins, by name, beside the installed ones.
            installed: Whether installed plugins are used.

        Raises:
            ConfigError: The configuration cannot be used.
            PluginError: A plugin is broken, in strict mode.
        """
        return cls(_settings(config), clock=clock, plugins=plugins, installed=installed)

    async def __aenter__(self) -> Self:
        """Open the shared store, build the chains and start the plugins.

        Raises:
            Closed: It is open, or was.
        """
        if self._context is not None or self._stopping:
            msg = "an application is opened once; make another with Argo.open(...)"
            raise Closed(msg)
        state_dir = state_directory(self._settings)
        try:
            self._context = await self._make_context(state_dir)
            self._builder = Builder(self._plugins, self._context)
            self._builder.given = self._given
            self._rebuild("opened")
            await self._start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the application."""
        await self.aclose()

    async def aclose(self) -> None:
        """End background tasks, stop the plugins in reverse order, close the store. Idempotent."""
        if self._stopping:
            return
        self._stopping = True
        context = self._context
        async with AsyncExitStack() as stack:
            # Whatever fails at it, all the rest is closed as well.
            if context is not None:
                stack.push_async_callback(context.shared.aclose)
                stack.push_async_callback(context.stamps.aclose)
            stack.push_async_callback(self._tasks.aclose)
            stack.callback(self._engine.close)
            for name in self._started:
                stack.push_async_callback(self._lifecycle, name, "shutdown", context=context)

    def wrap(
        self,
        *,
        name: str | None = None,
        kind: Kind = "fetch",
        data_type: DataType = "market_data",
        scope: Scope | None = None,
        subject: str = "symbol",
        accept: Accept = accept_anything,
        timeout: float = 30.0,
    ) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
        """Put an async function behind the chain.

        Equal calls are then coalesced, cached and so on, as for any operation. What the function
        raises reaches the caller as it is.

        Args:
            name: What the operation is called; the function's module and name unless told.
            kind: ``fetch``, ``llm`` or ``compute``.
            data_type: What kind of data answers are; decides how long they live.
            scope: Whether tenants share answers: ``public`` or ``tenant``.
            subject: The parameter that is the subject, such as the symbol.
            accept: Says what is wrong with a value, or ``None`` when it is an answer.
            timeout: Seconds after which nobody waits for an answer.

        Raises:
            ConfigError: A parameter of the function has no name, or the operation's name is taken.
        """

        def decorate(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
            declared = operation(
                name=name or f"{function.__module__}.{function.__qualname__}",
                kind=kind,
                data_type=data_type,
                scope=scope,
                subject=subject,
                accept=accept,
                timeout=timeout,
            )(function)
            check(declared, function, self._wrapped.get(declared.name))
            known = self._given.get(declared.name)
            parts = Parts(None, (declared,), (upstream_of(function, declared),))
            self._given[declared.name] = parts
            if self._builder is not None:
                try:
                    self._rebuild(f"wrapped {declared.name}")
                except ArgoError:
                    # It is refused, and must not stand in the way of later changes.
                    if known is None:
                        del self._given[declared.name]
                    else:
                        self._given[declared.name] = known
                    raise
            self._wrapped[declared.name] = function
            return wrapped(function, declared, self.call)

        return decorate

    async def invalidate(self, *tags: str) -> None:
        """Count kept answers with one of *tags* (``subject:AAPL``, ``op:bars``) as gone.

        Holds in this process when it returns, in others within the channel's delay.
        """
        await self.context.invalidate(tags)

    async def expire(self, *tags: str) -> None:
        """Count kept answers with one of *tags* as stale: served only when nothing else is."""
        await self.context.expire(tags)

    def explain(self, operation: str, /, **parameters: object) -> list[Explained]:
        """What each layer and upstream would do with *operation* and its *parameters* now, and why.

        Raises:
            UnknownOperation: Nothing offers the operation.
            BadParameter: As for :meth:`call`.
        """
        build = self._engine.build
        call, _ = build.questions.ask(operation, self._tenant, parameters)
        return explain(build, call)

    async def reload(
        self, config: str | Path | Mapping[str, object] | Settings | None = None
    ) -> None:
        """Take up a changed configuration, or changed flags when *config* is ``None``.

        Calls under way end as they began; whatever has not changed keeps its state. The old
        configuration stays when the new one cannot be used.

        Raises:
            ConfigError: The new configuration cannot be used.
        """
        before = self._engine.build.parts
        old = self._settings
        self._settings = old if config is None else _settings(config)
        try:
            self._rebuild("reloaded")
        except BaseException:
            self._settings = old
            raise
        for name, parts in self._engine.build.parts.items():
            if name in before and before[name] is not parts:
                await self._lifecycle(
                    name, "config_changed", config=parts.config, context=self._context
                )

    async def roll_back(self, flag: str, why: str) -> None:
        """Hold *flag* off until somebody revives it, and forget what its layer served.

        For programs that watch a ramp and judge it by themselves: it holds for every process of
        this machine, over whatever the configuration says, until `argo-mw flags revive`.

        Args:
            flag: Its name.
            why: What was seen, for whoever looks at the flag next.

        Raises:
            ConfigError: There is no such flag, or no reason.
        """
        if flag not in self.flags:
            raise unknown_flag(flag, self.flags, where="a rollback")
        if not why:
            msg = f"flag {flag!r} is rolled back for no reason; say what was seen"
            raise ConfigError(msg)
        rule = configured_rule(flag, self._settings.flags)
        overlay = Overlay(state_directory(self._settings))
        await overlay.change(flag, lambda old: evolve(old or rule, latched=why), self.reload)
        await self.invalidate(f"layer:{flag}")

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Hand every event to *observer*; call what this returns to end that."""
        self._events.add(observer)
        return lambda: self._events.remove(observer)

    @property
    def context(self) -> Context:
        """What plugins are given, for programs that do without them."""
        self._engine.build  # noqa: B018 - raises Closed
        assert self._context is not None
        return self._context

    @property
    def settings(self) -> Settings:
        """What was configured."""
        return self._settings

    @property
    def flags(self) -> Mapping[str, Flag]:
        """The flags, by name."""
        return self._engine.build.flags

    @property
    def plugins(self) -> Plugins:
        """The plugins in use."""
        return self._plugins

    @property
    def broken(self) -> Sequence[Broken]:
        """The plugins that were left out, and why."""
        return tuple(self._plugins.broken)

    @property
    def engine(self) -> Engine:
        """What runs the calls; for commands and tests."""
        return self._engine

    def _rebuild(self, reason: str) -> None:
        assert self._builder is not None
        previous = None if reason == "opened" else self._engine.build
        overlay = Overlay(state_directory(self._settings)).read()
        self._engine.use(self._builder.build(self._settings, overlay, previous), reason)
        self._attend()

    def _attend(self) -> None:
        """Let the plugins' observers listen, less those whose layer's flag is off for good."""
        flags = self._engine.build.flags
        for name, observers in self._observers.items():
            off = name in flags and flags[name].rule.idle
            for observer in observers:
                self._events.remove(observer)
                if not off:
                    self._events.add(observer)

    async def _make_context(self, state_dir: Path) -> Context:
        codecs = _codecs(self._settings)
        self._plugins.collect("register_codecs", codecs=codecs)
        shared = await open_shared(
            _shared_url(self._settings, state_dir), clock=self._clock, drivers=self._drivers()
        )
        return Context(
            clock=self._clock,
            shared=shared,
            stamps=Stamps(shared, self._clock),
            codecs=codecs,
            events=self._events,
            tasks=self._tasks,
            state_dir=state_dir,
            engine=self._engine,
            alone=self._settings.argo.shared == _ALONE,
        )

    def _drivers(self) -> dict[str, OpenShared]:
        drivers: dict[str, OpenShared] = {}
        for answer in self._plugins.collect("register_shared_drivers").values():
            drivers.update(cast("Mapping[str, OpenShared]", answer))
        return drivers

    async def _start(self) -> None:
        assert self._context is not None
        await self._warm_stamps(self._context.stamps)
        broken = len(self._plugins.broken)
        for name, parts in self._engine.build.parts.items():
            arguments = {"config": parts.config, "context": self._context}
            observers = self._plugins.call(name, "register_observers", **arguments)
            self._observers[name] = tuple(cast("Iterable[Observer]", observers or ()))
            await self._lifecycle(name, "startup", **arguments)
            if name in self._plugins.names:
                self._started.append(name)
        self._attend()
        if self._settings.argo.watch:
            self._tasks.spawn("watch", watch(self._watched(), self._take_up))
        if len(self._plugins.broken) > broken:
            self._rebuild("a plugin was left out")

    def _watched(self) -> set[Path]:
        files = {Overlay(state_directory(self._settings)).path.absolute()}
        source = Path(self._settings.source)
        return files | {source.absolute()} if source.is_file() else files

    async def _take_up(self) -> None:
        source = self._settings.source
        await self.reload(source if Path(source).is_file() else None)

    async def _warm_stamps(self, stamps: Stamps) -> None:
        """Mirror the tags that answers get on their way: one first met then is not kept."""
        build = self._engine.build
        layers = [p.layer.name for p in build.parts.values() if p.layer is not None]
        await stamps.start()
        await stamps.load([f"op:{o}" for o in build.operations] + [f"layer:{n}" for n in layers])

    async def _lifecycle(self, name: str, hook: str, **arguments: object) -> None:
        waiting = self._plugins.call(name, hook, **arguments)
        if waiting is None:
            return
        seconds = self._settings.argo.startup_timeout
        try:
            async with asyncio.timeout(seconds):
                await cast("Awaitable[None]", waiting)
        except TimeoutError:
            late = TimeoutError(f"it took longer than {seconds:g} s")
            self._plugins.leave_out(name, hook, late)
        except Exception as error:
            self._plugins.leave_out(name, hook, error)


def state_directory(settings: Settings) -> Path:
    """Where an application with *settings* keeps its state; made private when it is made.

    Raises:
        ConfigError: It cannot be made.
    """
    chosen = os.environ.get(STATE_DIR) or settings.argo.state_dir
    path = Path(chosen) if chosen else platformdirs.user_state_path("argo-mw")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        msg = f"the state directory {path} cannot be made: {error}; set state_dir in [argo]"
        raise ConfigError(msg) from None
    return path


def _codecs(settings: Settings) -> Codecs:
    key = settings.argo.signing_key
    codecs = Codecs(Envelope(key=key.reveal().encode() if key else None))
    for kind in (Outcome, Attempt, Cost, Note):
        codecs.register_attrs(kind, f"argo.{kind.__name__.lower()}")
    return codecs


def _settings(config: str | Path | Mapping[str, object] | Settings | None) -> Settings:
    if isinstance(config, Settings):
        return config
    if isinstance(config, Mapping):
        return parse(config)
    return load(config)


def _shared_url(settings: Settings, state_dir: Path) -> str:
    url = settings.argo.shared
    return f"sqlite:///{quote(str(state_dir / 'shared.db'))}" if url == "sqlite" else url
