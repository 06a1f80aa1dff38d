"""Upstreams bound to their configuration, their guards and their caller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Final, cast

from attrs import evolve, frozen

from argo_mw.app.unknown_names import unknown
from argo_mw.base.errors import ConfigError
from argo_mw.chain.answering import Answering
from argo_mw.chain.context import Context
from argo_mw.chain.quota import Quota
from argo_mw.chain.upstream_caller import UpstreamCaller
from argo_mw.config import Settings, UpstreamSettings
from argo_mw.model.guard import Guard
from argo_mw.model.upstream import Batching, Limits, Upstream
from argo_mw.registry import Plugins

_CORE: Final = ""


@frozen(eq=False)
class BoundUpstream:
    """An upstream that is ready to be asked.

    Attributes:
        base: The upstream as its plugin made it.
        settings: What was configured about it.
        upstream: What the two make together.
        guards: Its guards, by the plugin that brought them; the core's own under "".
        guarding: The plugins among them whose guards are asked.
        lacking_ttl: Seconds that an answer of its that lacks something lives at most.
        caller: What asks it.
    """

    base: Upstream
    settings: UpstreamSettings
    upstream: Upstream
    guards: Mapping[str, tuple[Guard, ...]]
    guarding: frozenset[str]
    lacking_ttl: float
    caller: UpstreamCaller

    @property
    def asked_guards(self) -> Sequence[Guard]:
        """The guards that are asked, in their order: by plugin, and the core's own last.

        What the core's charge to windows of time is sent at once, however long others take.
        """
        names = sorted(self.guarding, key=lambda name: (name == _CORE, name))
        return [guard for name in names for guard in self.guards[name]]


class UpstreamBinder:
    """Makes upstreams ready, and keeps those that have not changed."""

    def __init__(self, plugins: Plugins, context: Context, answering: Answering) -> None:
        self._plugins = plugins
        self._answering = answering
        self._context = context

    def bind(
        self,
        upstreams: Iterable[Upstream],
        settings: Settings,
        off: Set[str],
        previous: Mapping[str, BoundUpstream],
    ) -> dict[str, BoundUpstream]:
        """Return every one of *upstreams*, ready to be asked, by name.

        Args:
            upstreams: The upstreams as their plugins made them.
            settings: What was configured.
            off: The plugins whose guards are not asked.
            previous: Those that were bound before; what has not changed is kept.

        Raises:
            ConfigError: Two share a name, or one is configured that does not exist.
        """
        bound: dict[str, BoundUpstream] = {}
        for upstream in upstreams:
            if upstream.name in bound:
                msg = f"two upstreams are called {upstream.name!r}; block one of their plugins"
                raise ConfigError(msg)
            wanted = settings.upstreams.get(upstream.name, UpstreamSettings())
            old = previous.get(upstream.name)
            if old is None or old.base is not upstream or old.settings != wanted:
                old = self._bind(upstream, wanted)
            guarding = frozenset(old.guards) - off
            bound[upstream.name] = self._asked(old, guarding, settings.argo.lacking_ttl)
        for name in settings.upstreams:
            if name not in bound:
                where = f"{settings.source} [upstreams.{name}]"
                raise unknown("upstream", name, bound, where, self._plugins.absent)
        return bound

    def _bind(self, base: Upstream, settings: UpstreamSettings) -> BoundUpstream:
        upstream = evolve(
            base,
            limits=_limits(base.limits, settings),
            timeout=base.timeout if settings.timeout is None else settings.timeout,
            retries=base.retries if settings.retries is None else settings.retries,
            batching=_batching(base.batching, settings.max_batch),
        )
        guards = {_CORE: self._own_guards(upstream, lifted=_LIFTED in _limits_of(settings))}
        for name in self._plugins.implementing("register_guards"):
            answer = self._plugins.call(
                name,
                "register_guards",
                config=self._plugins.configured.get(name),
                context=self._context,
                upstream=upstream,
            )
            guards[name] = tuple(cast("Iterable[Guard]", answer or ()))
        caller = self._caller(upstream, (), 0.0)
        return BoundUpstream(base, settings, upstream, guards, frozenset(), 0.0, caller)

    def _own_guards(self, upstream: Upstream, *, lifted: bool) -> tuple[Guard, ...]:
        if not upstream.metered and upstream.limits.unlimited:
            return ()
        context = self._context
        return (
            Quota(
                upstream,
                context.shared,
                context.clock,
                epochs=context.epochs,
                tasks=context.tasks,
                lifted=lifted,
            ),
        )

    def _asked(
        self, bound: BoundUpstream, plugins: frozenset[str], lacking_ttl: float
    ) -> BoundUpstream:
        """Return *bound* with the guards of just these *plugins*, which keep what they know."""
        if (bound.guarding, bound.lacking_ttl) == (plugins, lacking_ttl):
            return bound
        kept = evolve(bound, guarding=plugins, lacking_ttl=lacking_ttl)
        return evolve(kept, caller=self._caller(bound.upstream, kept.asked_guards, lacking_ttl))

    def _caller(
        self, upstream: Upstream, guards: Sequence[Guard], lacking_ttl: float
    ) -> UpstreamCaller:
        context = self._context
        return UpstreamCaller(
            upstream,
            guards,
            clock=context.clock,
            ages=context.ages,
            events=context.events,
            tasks=context.tasks,
            answering=self._answering,
            tallies=context.counters.tallies,
            lacking_ttl=lacking_ttl,
        )


def _batching(batching: Batching | None, max_size: int | None) -> Batching | None:
    if batching is None or max_size is None:
        return batching
    return None if max_size == 1 else evolve(batching, max_size=max_size)


_LIFTED: Final = 0
"""The configured limit that is none."""


def _limits_of(settings: UpstreamSettings) -> tuple[int | None, ...]:
    return (settings.per_second, settings.per_minute, settings.per_day, settings.concurrency)


def _limits(limits: Limits, settings: UpstreamSettings) -> Limits:
    own = (limits.per_second, limits.per_minute, limits.per_day, limits.concurrency)
    return Limits(
        *(
            mine if configured is None else None if configured == _LIFTED else configured
            for mine, configured in zip(own, _limits_of(settings), strict=True)
        )
    )
