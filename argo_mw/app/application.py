"""The application object: opens what calls need, and closes it again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar, cast

from argo_mw.app.building import PipelineBuilder
from argo_mw.app.caller import Caller
from argo_mw.app.config_follower import ConfigFollower
from argo_mw.app.core_panels import panels_of
from argo_mw.app.declaring import declared_by
from argo_mw.app.diagnosis import diagnose
from argo_mw.app.engine import Engine
from argo_mw.app.explain import Explained, dry_run, explain
from argo_mw.app.exposure import exposures
from argo_mw.app.flag_commands import FlagCommands
from argo_mw.app.flag_state import FlagState
from argo_mw.app.lifecycle import Lifecycle
from argo_mw.app.listening import Listening
from argo_mw.app.opening import follow_fleet, open_context, read_settings
from argo_mw.app.overview import LiveOverview
from argo_mw.app.pipeline import Contributions, Pipeline
from argo_mw.app.watched_diagnosis import WatchedDiagnosis
from argo_mw.app.wrap import check_name, upstream_of, wrapped
from argo_mw.base.clock import Clock, SystemClock
from argo_mw.base.errors import ArgoError, Closed, ConfigError, without_frames
from argo_mw.base.tasks import Tasks
from argo_mw.chain.context import Context
from argo_mw.config import Settings
from argo_mw.config.state_dir import state_directory
from argo_mw.model.events import Events, Observer
from argo_mw.model.operation import Accept, AnyOperation, Kind, Scope
from argo_mw.model.upstream import Upstream
from argo_mw.registry import BrokenPlugin, Plugins
from argo_mw.store.tag_versions import TagVersions

P = ParamSpec("P")
R = TypeVar("R")

GIVEN = "wrapped:"
"""What the names of contributions begin with that the program itself brings."""

# A load may begin when its caller's time is nearly up, and then takes its own. Timers may ring late
# by 1.6 %, and a call takes a moment to end.
_RETIRE_MARGIN = 2.1


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
        serves: bool = True,
    ) -> None:
        self._settings = settings
        self._serves = serves
        self._clock = clock or SystemClock()
        self._events = Events()
        self._tasks = Tasks()
        self._given: dict[str, Contributions] = {}
        self._wrapped: dict[str, Callable[..., object]] = {}
        self._context: Context | None = None
        self._state: FlagState
        self._listening = Listening(self._events)
        self._rebuilding = asyncio.Lock()
        self._entered = False
        self._stopping = False
        self._plugins = Plugins.load(
            block=settings.argo.block,
            strict=settings.argo.strict,
            required=settings.argo.required,
            extra=plugins,
            installed=installed,
        )
        self._lifecycle = Lifecycle(
            self._plugins, self._clock, self._tasks, timeout=settings.argo.startup_timeout
        )
        self._engine = Engine(self._plugins, self._clock, self._events, self._tasks)
        self._tenant = settings.argo.tenant
        self._changes = None  # an attribute of its own, since looking past it takes 1 % of a hit
        self._follower = ConfigFollower(self._engine, self.reload, self._rebuilding, self._tasks)

    @classmethod
    def open(
        cls,
        config: str | Path | Mapping[str, object] | Settings | None = None,
        *,
        clock: Clock | None = None,
        plugins: Mapping[str, object] | None = None,
        installed: bool = True,
    ) -> Self:
        """Return an application for *config*, to be entered with ``async with``.

        Args:
            config: The path of an ``argo.toml``, a table of its form, or settings. Without
                one: the file named by ``ARGO_MW_CONFIG``, else ``argo.toml`` in the working
                directory, else defaults that need no server.
            clock: Where time comes from; by default the machine's clocks.
            plugins: Further plugins, by name, beside the installed ones.
            installed: Whether installed plugins are used.

        Raises:
            ConfigError: The configuration cannot be used.
            PluginError: A plugin is broken, in strict mode.
        """
        return cls(read_settings(config), clock=clock, plugins=plugins, installed=installed)

    async def __aenter__(self) -> Self:
        """Open the shared store, build the chains and start the plugins.

        Raises:
            Closed: It is open, or was.
        """
        if self._entered or self._stopping:
            msg = "an application is opened once; make another with Argo.open(...)"
            raise Closed(msg)
        state_dir = state_directory(self._settings)
        self._entered = True
        try:
            async with self._rebuilding:
                self._context = await open_context(
                    self._settings, self._plugins, self._engine, state_dir
                )
                self._context.serves = self._serves
                self._prepare_building(self._context)
                for where, what in exposures(state_dir, self._settings).items():
                    self._context.warn_once(where, what)
                await self._start(self._context)
        except ConfigError as error:
            await self.aclose()
            raise without_frames(error) from None
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
        """Take no more calls, stop the plugins in reverse order, close the store. Idempotent."""
        if self._stopping:
            return
        self._stopping = True
        try:
            # An opening or a reload under way ends first: what it opens must be closed as well.
            async with self._rebuilding:
                self._engine.close()
        finally:
            await self._close(self._context)

    def wrap(
        self,
        *,
        name: str | None = None,
        kind: Kind = "fetch",
        data_type: str = "",
        scope: Scope | None = None,
        subject: str = "",
        accept: Accept | None = None,
        timeout: float = 30.0,
        ttl: float | str | None = None,
        grace: float | str | None = None,
        ignore: Iterable[str] = (),
        key: Callable[..., object] | None = None,
    ) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
        """Put an async function, or a method, behind the chain.

        Equal calls are then coalesced, cached and so on, as for any operation. What the function
        raises reaches the caller as it is. Each instance of a method's class has answers of its
        own, in this process only.

        Args:
            name: What the operation is called; by default the function's module and name.
            kind: ``fetch``, ``llm`` or ``compute``.
            data_type: What kind of data answers are, by a name that a plugin registers, or "".
            scope: Whether tenants share answers: ``public`` or ``tenant``; by default ``public``
                for ``fetch`` and ``tenant`` for the rest. A public function cannot ask, through
                this application, for what belongs to a tenant.
            subject: The name of the parameter that is the subject, or "".
            accept: Says what is wrong with a value, or ``None`` when it is an answer. By default
                ``None`` is one where the function's annotation says so.
            timeout: Seconds that a caller waits for an answer at most, by default.
            ttl: How long an answer is fresh, in seconds or as a text such as ``"2m"``; by default
                what the layers decide.
            grace: How long after that an answer may be served when nothing newer can be had.
            ignore: The names of parameters that do not decide the answer, such as a client.
            key: Called like the function; returns plain data that stands for its arguments in the
                answer's key.

        Raises:
            BadParameter: *ttl* or *grace* is not a duration, or *timeout* not above zero.
            ConfigError: The function is not async, a parameter of it has no name, or the
                operation's name is taken.
        """

        def decorate(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
            declared = declared_by(
                function,
                name=name,
                kind=kind,
                data_type=data_type,
                scope=scope,
                subject=subject,
                accept=accept,
                timeout=timeout,
                ttl=ttl,
                grace=grace,
                ignore=ignore,
                key=key,
            )
            check_name(declared, function, self._wrapped.get(declared.name))
            self._give(declared, upstream_of(function, declared))
            self._wrapped[declared.name] = function
            return wrapped(function, declared, self.call)

        return decorate

    async def invalidate(self, *tags: str) -> bool:
        """Discard kept answers with one of *tags* (``subject:NAME``, ``op:NAME``).

        The change is in effect in this process when it returns.

        Returns:
            Whether it takes effect in others too, within the channel's delay. If not, the shared
            store cannot be reached or refused it, and an event :class:`~argo_mw.plugin.Trouble`
            says why; others learn of it when the store accepts it.
        """
        return await context_of(self).invalidate(tags)

    async def expire(self, *tags: str) -> bool:
        """Make kept answers with one of *tags* stale: they are served only if no newer can be had.

        Returns:
            As :meth:`invalidate`.
        """
        return await context_of(self).expire(tags)

    def explain(self, operation: str, /, **parameters: object) -> list[Explained]:
        """Return what layers and upstreams would do with *operation* and *parameters* now, and why.

        As far as that is known without waiting: :meth:`dry_run` looks further.

        Raises:
            UnknownOperation: Nothing offers the operation.
            BadParameter: As for :meth:`call`.
        """
        pipeline = self._engine.pipeline
        call, _ = pipeline.calls.get(operation, self._tenant, parameters)
        return explain(pipeline, call, context_of(self).counters.tallies)

    async def dry_run(self, operation: str, /, **parameters: object) -> list[Explained]:
        """Return what layers and upstreams would do with *operation* and *parameters* now, and why.

        Unlike :meth:`explain`, it looks into the shared store and asks guards: it says whether a
        kept answer would be found, and which quota, budget or circuit breaker would refuse a
        request. Nothing is sent, taken or changed; each part has two seconds.

        Raises:
            UnknownOperation: Nothing offers the operation.
            BadParameter: As for :meth:`call`.
        """
        pipeline = self._engine.pipeline
        call, _ = pipeline.calls.get(operation, self._tenant, parameters)
        return await dry_run(pipeline, call, context_of(self).counters.tallies, self._clock)

    async def reload(
        self, config: str | Path | Mapping[str, object] | Settings | None = None
    ) -> None:
        """Apply a changed configuration, or changed flags when *config* is ``None``.

        Calls in progress end as they began; whatever has not changed keeps its state. If the new
        configuration cannot be used, the old one remains.

        Raises:
            ConfigError: The new configuration cannot be used.
        """
        async with self._rebuilding:
            before = self._engine.pipeline
            settings = self._settings if config is None else read_settings(config)
            pipeline = self._state.build(settings, before)
            await self._lifecycle.replace(before, pipeline)
            self._use(self._current(pipeline), "reloaded")
            self._state.mark_in_use()
            self._settings = settings
            self._follower.use(settings)
            context = context_of(self)
            await context.invalidate(pipeline.held_tags - before.held_tags)
            for name, one in pipeline.contributions.items():
                if before.contributions.get(name, one) is not one:
                    hook = self._plugins.call(
                        name, "config_changed", config=one.config, context=context
                    )
                    await self._lifecycle.run(name, "config_changed", hook)

    async def roll_back(self, flag: str, why: str, *, fleet: bool = False) -> None:
        """Switch *flag* off until it is revived, and discard the answers that its layer shaped.

        For programs that judge a ramp themselves. It applies to every process of this machine,
        whatever the configuration says, until `argo-mw flags revive`.

        Args:
            flag: Its name.
            why: What was seen, for the person who looks at the flag next.
            fleet: Whether it holds for all that share the store, until
                `argo-mw flags revive --fleet`.

        Raises:
            ConfigError: There is no such flag, or no reason.
            SharedUnavailable: It cannot hold for the fleet: the store is away.
        """
        await context_of(self).flags.roll_back(flag, why, fleet=fleet)

    @property
    def settings(self) -> Settings:
        """What was configured."""
        return self._settings

    @property
    def broken(self) -> Sequence[BrokenPlugin]:
        """The plugins that were left out, and why."""
        return tuple(self._plugins.broken)

    def _prepare_building(self, context: Context) -> None:
        builder = PipelineBuilder(self._plugins, context, self._engine.answering, self._given)
        fleet = follow_fleet(self._settings, context, self._take_up_fleet)
        self._state = FlagState(builder, fleet)
        self._engine.flags = FlagCommands(
            self._engine, self._state, self.reload, self.invalidate, context.journal
        )
        diagnosis = WatchedDiagnosis(
            partial(diagnose, self._engine, context), context.clock, context.tasks
        )
        self._engine.overview = partial(LiveOverview, self._engine, context, diagnosis)

    def _give(self, declared: AnyOperation, upstream: Upstream) -> None:
        """Bring an operation and its upstream into the application, beside those of plugins."""
        name = GIVEN + declared.name
        known = self._given.get(name)
        self._given[name] = Contributions(None, operations=(declared,), upstreams=(upstream,))
        if not self._engine.is_open:
            return
        try:
            # The settings in use: a reload that is opening layers has not changed them yet.
            pipeline = self._engine.pipeline
            self._use(self._state.rebuild(pipeline), f"wrapped {declared.name}")
        except ArgoError:
            # It is refused, and must not stand in the way of later changes.
            if known is None:
                del self._given[name]
            else:
                self._given[name] = known
            raise

    async def _take_up_fleet(self) -> None:
        """Take up what the fleet has set, unless it is in use already."""
        async with self._rebuilding:
            if not self._engine.is_open:  # what was opening has failed
                return
        if self._state.has_news:
            try:
                await self.reload()
            except ArgoError as error:
                context_of(self).warn_once("flags of the fleet", f"not taken up: {error}")

    def _current(self, pipeline: Pipeline) -> Pipeline:
        """Return *pipeline*, built anew if a plugin was left out or a function wrapped since."""
        known = pipeline.contributions
        plugins = {name for name, one in known.items() if not one.stands_in}
        left_out = plugins - self._given.keys() - set(self._plugins.names)
        if not left_out and all(known.get(name) is one for name, one in self._given.items()):
            return pipeline
        return self._state.rebuild(pipeline)

    def _go_on_without(self) -> None:
        """Take what a plugin brought that was just left out from the chain."""
        if not self._stopping:
            self._tasks.spawn("left-out", self._rebuild())

    async def _rebuild(self) -> None:
        async with self._rebuilding:
            pipeline = self._engine.pipeline
            current = self._current(pipeline)
            if current is not pipeline:
                self._use(current, "a plugin was left out")

    def _use(self, pipeline: Pipeline, reason: str) -> None:
        longest = self._engine.longest_timeout
        self._engine.use(pipeline, reason)
        context_of(self).tag_versions.ban(pipeline.held_tags)
        self._listening.follow(set(self._plugins.names), pipeline.flags)
        self._lifecycle.retire(pipeline, longest * _RETIRE_MARGIN)

    async def _start(self, context: Context) -> None:
        # Before the flags are read: what is set while plugins start is taken up afterwards.
        self._follower.start(self._settings)
        if self._state.fleet is not None:
            await self._state.fleet.start()
        pipeline = self._state.build(self._settings, None)
        await self._warm_tag_versions(context.tag_versions, pipeline)
        if not context.single_process:
            context.counters.start()
            context.tag_versions.health.look()  # so that what is refused is known at the start
        for name, one in pipeline.contributions.items():
            observers = self._plugins.call(
                name, "register_observers", config=one.config, context=context
            )
            self._listening.offer(name, tuple(cast("Iterable[Observer]", observers or ())))
            await self._lifecycle.start(name, one, context)
        context.panels.offer(panels_of(self._engine, context))
        self._use(self._current(pipeline), "opened")
        self._state.mark_in_use()
        await self._lifecycle.end_left_out()
        self._plugins.on_left_out = self._go_on_without

    async def _close(self, context: Context | None) -> None:
        async with AsyncExitStack() as stack:
            # In reverse; whatever fails, all the rest is closed as well.
            if context is not None:
                stack.push_async_callback(context.shared.aclose)
                stack.push_async_callback(context.tag_versions.aclose)
                stack.push_async_callback(context.epochs.aclose)
            stack.push_async_callback(self._tasks.aclose)
            if context is not None:
                stack.push_async_callback(self._lifecycle.stop, context)
                stack.push_async_callback(context.counters.aclose)
                stack.callback(context.panels.close)
                stack.push_async_callback(self._engine.costs.aclose)
            # Before the plugins stop: what requests cost that end now must still be recorded.
            stack.push_async_callback(self._tasks.end_calls)
            stack.callback(self._engine.close)
            stack.push_async_callback(self._follower.aclose)
            if context is not None and self._state.fleet is not None:
                stack.push_async_callback(self._state.fleet.aclose)

    async def _warm_tag_versions(self, versions: TagVersions, pipeline: Pipeline) -> None:
        """Mirror the tags that answers get on their way: one that was replaced is then known."""
        await versions.start()
        await versions.load(
            [f"op:{name}" for name in pipeline.operations]
            + [f"layer:{layer.flag}" for layer in pipeline.layers]
        )


def context_of(argo: Argo) -> Context:
    """Return the context of *argo*: what plugins are given, for programs that do without them.

    Raises:
        Closed: *argo* is not open.
    """
    argo._engine.pipeline  # noqa: B018 - raises Closed
    assert argo._context is not None
    return argo._context


def engine_of(argo: Argo) -> Engine:
    """Return what runs the calls of *argo*, for commands and the test kit."""
    return argo._engine
