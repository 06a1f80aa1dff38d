"""The build: from plugins, settings and flags to one chain per operation.

A build is a value. A new one takes over from the last whatever has not changed: layers,
upstreams and their guards keep their state, so a flag flip empties no cache and splits no
flight. Calls under way finish on the build that they began with.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import cast

from attrs import evolve, frozen

from argo_mw.call import Call
from argo_mw.chain.attempt import Attempts
from argo_mw.chain.compose import Chain
from argo_mw.chain.order import Order, order
from argo_mw.chain.shadow import Shadows
from argo_mw.config import OperationSettings, Settings, UpstreamSettings
from argo_mw.context import Context
from argo_mw.errors import ConfigError, PluginError, UnknownOperation
from argo_mw.events import LayerBypassed
from argo_mw.flags import Flag, Rule
from argo_mw.flags.sources import resolve
from argo_mw.guard import Guard
from argo_mw.guards import Quota
from argo_mw.layer import Layer
from argo_mw.operation import Operation
from argo_mw.questions import Questions
from argo_mw.registry import Plugins
from argo_mw.upstream import Gathering, Limits, Upstream

UPSTREAM_FLAG = "upstream."


@frozen(eq=False)
class Parts:
    """What one plugin brings, for one configuration of it."""

    config: object
    operations: tuple[Operation, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    layer: Layer | None = None
    flags: tuple[str, ...] = ()


@frozen(eq=False)
class Post:
    """An upstream that is ready to be asked.

    Attributes:
        base: The upstream as its plugin made it.
        settings: What was configured about it.
        upstream: What the two make together.
        guards: Its guards, by the plugin that brought them; the core's own under "".
        asked: The plugins among them whose guards are asked.
        attempts: What asks it.
    """

    base: Upstream
    settings: UpstreamSettings
    upstream: Upstream
    guards: Mapping[str, tuple[Guard, ...]]
    asked: frozenset[str]
    attempts: Attempts


@frozen(eq=False)
class Build:
    """Everything that requests need, composed.

    Attributes:
        settings: What was configured.
        parts: What each plugin brings.
        operations: The operations, by name.
        posts: The upstreams, by name.
        flags: The flags, by name.
        order: The layers that act on some calls or shadow them, in their places.
        chains: One chain per operation.
        questions: The calls that were asked before.
        candidates: The upstreams of each operation, in their order.
        settled: Those of them that are on, or ``None`` where that depends on the call.
    """

    settings: Settings
    parts: Mapping[str, Parts]
    operations: Mapping[str, Operation]
    posts: Mapping[str, Post]
    flags: Mapping[str, Flag]
    order: Order
    chains: Mapping[str, Chain]
    questions: Questions
    candidates: Mapping[str, tuple[str, ...]]
    settled: Mapping[str, tuple[str, ...] | None]

    def upstreams_for(self, call: Call) -> Sequence[Upstream]:
        """The upstreams that may answer *call*, in their configured order."""
        return [self.posts[name].upstream for name in self.names_for(call)]

    def names_for(self, call: Call) -> Sequence[str]:
        """The names of the upstreams that may answer *call*, less those whose flag is off."""
        operation = call.operation.name
        settled = self.settled[operation]
        if settled is not None:
            return settled
        flags = self.flags
        names = self.candidates[operation]
        return [name for name in names if flags[UPSTREAM_FLAG + name].decide(call).on]


class Builder:
    """Makes builds for one application."""

    def __init__(self, plugins: Plugins, context: Context) -> None:
        self._plugins = plugins
        self._context = context
        self._shadows = Shadows(context.clock, context.tasks, self._report)
        self.given: dict[str, Parts] = {}
        """Operations and upstreams that the program itself brings, by name."""

    def build(
        self, settings: Settings, overlay: Mapping[str, Rule], previous: Build | None = None
    ) -> Build:
        """A build for *settings*, which takes over what it can from *previous*.

        Raises:
            ConfigError: Something is named that does not exist, named twice, or out of order.
            PluginError: A plugin is broken, in strict mode.
        """
        parts = self._parts(settings, previous)
        operations = _operations(parts, settings)
        if self._leave_out_who_cannot_say(parts, operations):
            return self.build(settings, overlay, previous)
        flags = _flags(parts, settings, overlay)
        off = {name for name, flag in flags.items() if flag.rule.settled is False}
        broken = len(self._plugins.broken)
        posts = self._posts(parts, settings, off, previous)
        if len(self._plugins.broken) > broken:
            # Whoever cannot guard is left out with its upstreams: they may be what it guards.
            return self.build(settings, overlay, previous)
        layers = [p.layer for p in parts.values() if p.layer is not None]
        _check_shadows(flags, layers)
        ordered = order(one for one in layers if not flags[one.name].rule.idle)
        candidates = {o: _candidates(o, posts, settings) for o in operations}
        chains: dict[str, Chain] = {}
        build = Build(
            settings=settings,
            parts=parts,
            operations=operations,
            posts=posts,
            flags=flags,
            order=ordered,
            chains=chains,
            questions=Questions(chains, lambda name: _unknown_operation(name, operations)),
            candidates=candidates,
            settled={name: _settled(upstreams, flags) for name, upstreams in candidates.items()},
        )
        attempts = {name: post.attempts for name, post in posts.items()}
        for name, operation in operations.items():
            settled = build.settled[name]
            only = settled[0] if settled is not None and len(settled) == 1 else None
            chains[name] = Chain(
                operation,
                ordered,
                flags,
                attempts,
                build.names_for,
                self._report,
                self._shadows,
                only=only,
            )
        return build

    def _parts(self, settings: Settings, previous: Build | None) -> dict[str, Parts]:
        configs = self._plugins.configs(settings.plugins, settings.source)
        parts: dict[str, Parts] = {}
        for name, config in configs.items():
            old = previous.parts.get(name) if previous is not None else None
            parts[name] = (
                old if old is not None and old.config == config else self._ask(name, config)
            )
        return {**{n: p for n, p in parts.items() if n in self._plugins.names}, **self.given}

    def _leave_out_who_cannot_say(
        self, parts: Mapping[str, Parts], operations: Mapping[str, Operation]
    ) -> bool:
        """Whether a plugin was left out because its layer fails to say what it serves."""
        before = len(self._plugins.broken)
        for name, part in parts.items():
            try:
                if part.layer is not None:
                    for operation in operations.values():
                        part.layer.serves(operation)
            except Exception as error:
                self._plugins.leave_out(name, "serves", error)
        return len(self._plugins.broken) > before

    def _ask(self, name: str, config: object) -> Parts:
        arguments = {"config": config, "context": self._context}
        layer = cast("Layer | None", self._plugins.call(name, "register_layer", **arguments))
        if layer is not None and layer.name != name:
            msg = f"its layer is called {layer.name!r}; a layer has its plugin's name"
            self._plugins.leave_out(name, "register_layer", PluginError(msg, plugin=name))
        operations = self._plugins.call(name, "register_operations", config=config)
        upstreams = self._plugins.call(name, "register_upstreams", **arguments)
        flags = cast("Iterable[str]", self._plugins.call(name, "register_flags") or ())
        foreign = [flag for flag in flags if not flag.startswith(f"{name}.")]
        if foreign:
            msg = f"it registers flag {foreign[0]!r}; write {name + '.' + foreign[0]!r}"
            self._plugins.leave_out(name, "register_flags", PluginError(msg, plugin=name))
        return Parts(
            config,
            tuple(cast("Iterable[Operation]", operations or ())),
            tuple(cast("Iterable[Upstream]", upstreams or ())),
            layer,
            tuple(flags),
        )

    def _posts(
        self,
        parts: Mapping[str, Parts],
        settings: Settings,
        off: Set[str],
        previous: Build | None,
    ) -> dict[str, Post]:
        posts: dict[str, Post] = {}
        for upstream in (u for p in parts.values() for u in p.upstreams):
            if upstream.name in posts:
                msg = f"two upstreams are called {upstream.name!r}; block one of their plugins"
                raise ConfigError(msg)
            wanted = settings.upstreams.get(upstream.name, UpstreamSettings())
            old = previous.posts.get(upstream.name) if previous is not None else None
            if old is None or old.base is not upstream or old.settings != wanted:
                old = self._post(upstream, wanted)
            posts[upstream.name] = self._asking(old, frozenset(old.guards) - off)
        for name in settings.upstreams:
            if name not in posts:
                raise _unknown("upstream", name, posts, f"{settings.source} [upstreams.{name}]")
        return posts

    def _post(self, base: Upstream, settings: UpstreamSettings) -> Post:
        upstream = evolve(
            base,
            limits=_limits(base.limits, settings),
            timeout=base.timeout if settings.timeout is None else settings.timeout,
            retries=base.retries if settings.retries is None else settings.retries,
            gathering=_gathering(base.gathering, settings.gather),
        )
        guards = {"": self._own_guards(upstream)}
        for name in self._plugins.implementing("register_guards"):
            answer = self._plugins.call(
                name,
                "register_guards",
                config=self._plugins.configured.get(name),
                context=self._context,
                upstream=upstream,
            )
            guards[name] = tuple(cast("Iterable[Guard]", answer or ()))
        return Post(base, settings, upstream, guards, frozenset(), self._attempts(upstream, ()))

    def _own_guards(self, upstream: Upstream) -> tuple[Guard, ...]:
        if not upstream.metered and upstream.limits.unlimited:
            return ()
        return (Quota(upstream, self._context.shared, self._context.clock),)

    def _asking(self, post: Post, plugins: frozenset[str]) -> Post:
        """*post* with the guards of just these *plugins*, which keep what they know."""
        if post.asked == plugins:
            return post
        guards = [g for name in sorted(plugins) for g in post.guards[name]]
        return evolve(post, asked=plugins, attempts=self._attempts(post.upstream, guards))

    def _attempts(self, upstream: Upstream, guards: Sequence[Guard]) -> Attempts:
        context = self._context
        return Attempts(
            upstream, guards, clock=context.clock, events=context.events, tasks=context.tasks
        )

    def _report(self, layer: Layer, call: Call, error: BaseException) -> None:
        if self._context.events:
            self._context.events.emit(LayerBypassed(layer.name, call, error))
        self._context.trouble(
            f"layer {layer.name}",
            f"it failed by its own fault and was passed by: {type(error).__name__}: {error}",
        )


def _operations(parts: Mapping[str, Parts], settings: Settings) -> dict[str, Operation]:
    operations: dict[str, Operation] = {}
    for operation in (o for p in parts.values() for o in p.operations):
        if operation.name in operations:
            msg = f"two plugins offer the operation {operation.name!r}; block one of them"
            raise ConfigError(msg)
        wanted = settings.operations.get(operation.name, OperationSettings())
        operations[operation.name] = (
            operation if wanted.timeout is None else evolve(operation, timeout=wanted.timeout)
        )
    for name in settings.operations:
        if name not in operations:
            raise _unknown("operation", name, operations, f"{settings.source} [operations.{name}]")
    for plugin, part in parts.items():
        for name in _operation_tables(part.config):
            if name not in operations:
                where = f"{settings.source} [plugins.{plugin}.operations.{name}]"
                raise _unknown("operation", name, operations, where)
    return operations


def _operation_tables(config: object) -> Iterable[str]:
    """The operations that a plugin's table has tables for: by convention, in ``operations``."""
    tables = getattr(config, "operations", None)
    return tables if isinstance(tables, Mapping) else ()


def _flags(
    parts: Mapping[str, Parts], settings: Settings, overlay: Mapping[str, Rule]
) -> dict[str, Flag]:
    known = [p.layer.name for p in parts.values() if p.layer is not None]
    known += [UPSTREAM_FLAG + u.name for p in parts.values() for u in p.upstreams]
    known += [name for p in parts.values() for name in p.flags]
    return resolve(known, configured=settings.flags, overlay=overlay)


def _candidates(operation: str, posts: Mapping[str, Post], settings: Settings) -> tuple[str, ...]:
    able = [name for name, post in posts.items() if operation in post.upstream.operations]
    wanted = settings.operations.get(operation, OperationSettings()).upstreams
    if wanted is None:
        return tuple(able)
    for name in wanted:
        if name not in able:
            where = f"{settings.source} [operations.{operation}] upstreams"
            raise _unknown("upstream", name, able, where)
    return wanted


def _settled(names: Sequence[str], flags: Mapping[str, Flag]) -> tuple[str, ...] | None:
    states = [flags[UPSTREAM_FLAG + name].rule.settled for name in names]
    if None in states:
        return None
    return tuple(name for name, on in zip(names, states, strict=True) if on)


def _gathering(gathering: Gathering | None, most: int | None) -> Gathering | None:
    if gathering is None or most is None:
        return gathering
    return None if most == 1 else evolve(gathering, most=most)


def _limits(limits: Limits, settings: UpstreamSettings) -> Limits:
    def pick(configured: int | None, own: int | None) -> int | None:
        return own if configured is None else configured or None

    return Limits(
        per_second=pick(settings.per_second, limits.per_second),
        per_minute=pick(settings.per_minute, limits.per_minute),
        per_day=pick(settings.per_day, limits.per_day),
        concurrency=pick(settings.concurrency, limits.concurrency),
    )


def _check_shadows(flags: Mapping[str, Flag], layers: Iterable[Layer]) -> None:
    able = {layer.name for layer in layers if layer.shadow is not None}
    for name, flag in flags.items():
        if flag.rule.shadows and name not in able:
            msg = (
                f"flag {name!r} is set to 'shadow' by {flag.source}, but {name!r} cannot shadow; "
                "set it to 'off', 'on' or a percentage"
            )
            raise ConfigError(msg)


def _unknown_operation(name: str, operations: Iterable[str]) -> UnknownOperation:
    error = _unknown("operation", name, operations, "the call")
    return UnknownOperation(f"{error}; `argo-mw plugins` lists what is installed")


def _unknown(what: str, name: str, known: Iterable[str], where: str) -> ConfigError:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names) or 'none'}"
    return ConfigError(f"{where} names {what} {name!r}, which does not exist: {hint}")
