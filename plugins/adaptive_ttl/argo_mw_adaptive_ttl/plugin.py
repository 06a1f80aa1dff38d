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
    Panel,
    PluginTemplate,
    hookimpl,
    observes,
    suggest,
)
from argo_mw_adaptive_ttl import hookspecs
from argo_mw_adaptive_ttl.calendars import Calendars, ExtendedHours, check_names
from argo_mw_adaptive_ttl.config import DATA_TYPES, AdaptiveTtlConfig
from argo_mw_adaptive_ttl.error_budget import ErrorBudget
from argo_mw_adaptive_ttl.layer import NAME, AdaptiveTtl
from argo_mw_adaptive_ttl.multiplier_policy import MultiplierPolicy
from argo_mw_adaptive_ttl.panel import panel
from argo_mw_adaptive_ttl.policy import Policy, PolicyFactory
from argo_mw_adaptive_ttl.regime import Detector, Efficiency
from argo_mw_adaptive_ttl.symbol import Symbol
from argo_mw_adaptive_ttl.symbol_stats import SymbolStats

T = TypeVar("T")
_DAY = 86_400.0
_SHARE = 0.1
"""The share of the application's memory for what is known about symbols."""
SYMBOL_BYTES = 20_000
"""Bytes that this is for one symbol at most."""
_POLICY_CONFIG = """\
[plugins.adaptive_ttl]
policy = "$name"

[plugins.$name]
open = 5.0  # seconds
closed = 600.0"""


class AdaptiveTtlPlugin:
    """The plugin, one for each application."""

    def __init__(self) -> None:
        self._layer: AdaptiveTtl | None = None

    @hookimpl
    def register_config(self) -> type:
        """Return the class of the table ``[plugins.adaptive_ttl]``."""
        return AdaptiveTtlConfig

    @hookimpl
    def register_hookspecs(self) -> object:
        """Return the hooks by which other plugins register policies and regime detectors."""
        return hookspecs

    @hookimpl
    def register_data_types(self) -> Iterable[str]:
        """Return the data types that the policy ``multipliers`` has a factor for."""
        return DATA_TYPES

    @hookimpl
    def register_layers(self, config: AdaptiveTtlConfig, context: Context) -> Iterable[Layer]:
        """Return the layer, in its slot."""
        stats = _stats(config, context)
        policy = _policy(config, context, stats)
        layer = AdaptiveTtl(config, context, policy, stats, _calendars(config), self._use)
        return [Layer(NAME, layer, slot=NAME)]

    @hookimpl
    def register_observers(self) -> Iterable[Observer]:
        """Return the observer by which the layer in use learns from the answers that pass by."""

        @observes(AnswerSeen)
        def observe(event: Event) -> None:
            if self._layer is not None:
                self._layer.observe(event)

        return [observe]

    @hookimpl
    def register_panels(self, context: Context) -> Iterable[Panel]:
        """Return the panel of what is known about prices."""
        return [panel(context.clock, self._symbols)]

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
                commands='$name = "argo_mw.cli:no_commands"',
                flags=(),
            )
        }

    def _symbols(self) -> Iterable[Symbol]:
        return () if self._layer is None else self._layer.stats.symbols.values()

    def _use(self, layer: AdaptiveTtl) -> None:
        # Not where the layer is made: a configuration that is rejected afterwards never opens it.
        self._layer = layer


def _stats(config: AdaptiveTtlConfig, context: Context) -> SymbolStats:
    detectors = _collected(context, "register_regime_detectors", {"efficiency": Efficiency})
    detector = _chosen(detectors, config.regime_detector, "regime_detector")
    return SymbolStats(
        max_symbols=context.memory.items_within(_SHARE, SYMBOL_BYTES, config.max_symbols),
        forget_after=config.forget_days * _DAY,
        detector=cast("Callable[[], Detector]", detector),
    )


def _policy(config: AdaptiveTtlConfig, context: Context, stats: SymbolStats) -> Policy:
    own: dict[str, object] = {
        "multipliers": lambda _stats, _context: MultiplierPolicy(config.multipliers),
        "error_budget": lambda stats, _context: ErrorBudget(
            config.error_budget, config.multipliers, stats
        ),
    }
    policies = _collected(context, "register_ttl_policies", own)
    factory = cast("PolicyFactory", _chosen(policies, config.policy, "policy"))
    return factory(stats, context)


def _calendars(config: AdaptiveTtlConfig) -> Calendars:
    check_names([config.default_calendar, *config.calendars.values(), *config.extended_hours])
    extended = {name: ExtendedHours(h.pre, h.post) for name, h in config.extended_hours.items()}
    return Calendars(config.calendars, default=config.default_calendar, extended=extended)


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
