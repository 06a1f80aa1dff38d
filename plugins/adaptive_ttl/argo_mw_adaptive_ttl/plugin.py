"""What the plugin registers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from typing import TypeVar, cast

from argo_mw.plugin import (
    AnswerSeen,
    ConfigError,
    Context,
    Event,
    Layer,
    Observer,
    PluginTemplate,
    hookimpl,
    observes,
    suggest,
)
from argo_mw_adaptive_ttl import hookspecs
from argo_mw_adaptive_ttl.calendars import Calendars, Extended, check_names
from argo_mw_adaptive_ttl.config import DATA_TYPES, AdaptiveTtlConfig
from argo_mw_adaptive_ttl.error_budget import ErrorBudget
from argo_mw_adaptive_ttl.layer import NAME, AdaptiveTtl
from argo_mw_adaptive_ttl.memory import Memory
from argo_mw_adaptive_ttl.policy import Policy, PolicyFactory
from argo_mw_adaptive_ttl.regime import Detector, Efficiency
from argo_mw_adaptive_ttl.store import Store
from argo_mw_adaptive_ttl.table import Table

T = TypeVar("T")
_DAY = 86_400.0
_POLICY_CONFIG = """\
[plugins.adaptive_ttl]
policy = "$name"

[plugins.$name]
open = 5.0  # seconds
closed = 600.0"""


class AdaptiveTtlPlugin:
    """The plugin, one for each application."""

    def __init__(self) -> None:
        # What was learned outlives changes of the configuration.
        self._memory: Memory | None = None
        self._layer: AdaptiveTtl | None = None
        self._store: Store | None = None

    @hookimpl
    def register_config(self) -> type:
        """The class of the table ``[plugins.adaptive_ttl]``."""
        return AdaptiveTtlConfig

    @hookimpl
    def register_hookspecs(self) -> object:
        """The hooks by which others register policies and regime detectors."""
        return hookspecs

    @hookimpl
    def register_data_types(self) -> Iterable[str]:
        """The data types that the policy ``table`` has a factor for."""
        return DATA_TYPES

    @hookimpl
    def register_layers(self, config: AdaptiveTtlConfig, context: Context) -> Iterable[Layer]:
        """The layer in its slot."""
        if self._layer is not None:
            self._layer.stop()
        memory = self._memory = _memory(config, context, self._memory)
        self._layer = AdaptiveTtl(
            _policy(config, context, memory),
            memory,
            _calendars(config),
            config.operations,
            context,
        )
        return [Layer(NAME, self._layer, slot=NAME)]

    @hookimpl
    def register_observers(self) -> Iterable[Observer]:
        """What learns from the answers that pass by; it follows the layer across reloads."""

        @observes(AnswerSeen)
        def observe(event: Event) -> None:
            if self._layer is not None:
                self._layer.observe(event)

        return [observe]

    @hookimpl
    async def startup(self, config: AdaptiveTtlConfig, context: Context) -> None:
        """Read what was learned before."""
        if self._layer is None or self._memory is None:
            return
        await context.tag_versions.load([f"layer:{NAME}"])
        self._store = Store(context.state_dir / f"{NAME}.json")
        await self._store.restore(self._memory, self._layer.calendars, context.clock.time())
        if config.save_every > 0.0:
            code = self._save_regularly(context, config.save_every)
            context.tasks.spawn(f"{NAME}: save", code)

    @hookimpl
    async def shutdown(self) -> None:
        """Write what was learned."""
        if self._layer is None or self._memory is None:
            return
        self._layer.stop()
        if self._store is not None:
            await self._store.save(self._memory)

    @hookimpl
    def register_templates(self) -> Mapping[str, PluginTemplate]:
        """Return what ``argo-mw new-plugin`` needs to write a policy."""
        return {
            "policy": PluginTemplate(
                summary="Answers live by what the symbol's market does",
                folder=files("argo_mw_adaptive_ttl") / "templates" / "policy",
                exports=("ByPhase", "Config", "Plugin"),
                config=_POLICY_CONFIG,
                usage=f"argo-mw flags set {NAME} 10%\nargo-mw flags kill {NAME}",
                dependencies=("argo-mw-adaptive-ttl",),
            )
        }

    async def _save_regularly(self, context: Context, seconds: float) -> None:
        while True:
            await context.clock.sleep(seconds)
            if self._store is not None and self._memory is not None:
                await self._store.save(self._memory)


def _memory(config: AdaptiveTtlConfig, context: Context, before: Memory | None) -> Memory:
    detectors = _collected(context, "register_regime_detectors", {"efficiency": Efficiency})
    detector = cast("Callable[[], Detector]", _chosen(detectors, config.regimes, "regimes"))
    memory = Memory() if before is None else before
    memory.capacity = config.symbols
    memory.forget_after = config.forget_days * _DAY
    memory.detector = detector
    return memory


def _policy(config: AdaptiveTtlConfig, context: Context, memory: Memory) -> Policy:
    own: dict[str, object] = {
        "table": lambda _memory, _context: Table(config.table),
        "error_budget": lambda memory, _context: ErrorBudget(
            config.error_budget, config.table, memory
        ),
    }
    policies = _collected(context, "register_ttl_policies", own)
    factory = cast("PolicyFactory", _chosen(policies, config.policy, "policy"))
    return factory(memory, context)


def _calendars(config: AdaptiveTtlConfig) -> Calendars:
    check_names([config.calendar, *config.calendars.values(), *config.extended])
    extended = {name: Extended(h.pre, h.post) for name, h in config.extended.items()}
    return Calendars(config.calendars, default=config.calendar, extended=extended)


def _collected(context: Context, hook: str, own: Mapping[str, object]) -> dict[str, object]:
    known = dict(own)
    for plugin, answer in context.collect(hook).items():
        for name, factory in cast("Mapping[str, object]", answer).items():
            if name in known:
                msg = f"plugin {plugin!r} registers {name!r}, which is taken; rename it"
                raise ConfigError(msg)
            known[name] = factory
    return known


def _chosen(known: Mapping[str, T], name: str, key: str) -> T:
    if name in known:
        return known[name]
    msg = f"[plugins.{NAME}] {key} is {name!r}, which is not registered: {suggest(name, known)}"
    raise ConfigError(msg)
