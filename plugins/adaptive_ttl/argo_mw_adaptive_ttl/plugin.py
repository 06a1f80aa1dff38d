"""What the plugin registers."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar, cast
from weakref import WeakKeyDictionary

from argo_mw import (
    AnswerSeen,
    ConfigError,
    Context,
    Event,
    Layer,
    Observer,
    hookimpl,
    observes,
)
from argo_mw_adaptive_ttl import hookspecs
from argo_mw_adaptive_ttl.calendars import Calendars, Extended, check_names
from argo_mw_adaptive_ttl.config import AdaptiveTtlConfig
from argo_mw_adaptive_ttl.error_budget import ErrorBudget
from argo_mw_adaptive_ttl.layer import NAME, AdaptiveTtl
from argo_mw_adaptive_ttl.memory import Memory
from argo_mw_adaptive_ttl.policy import Policy, PolicyFactory
from argo_mw_adaptive_ttl.regime import Detector, Efficiency
from argo_mw_adaptive_ttl.store import Store
from argo_mw_adaptive_ttl.table import Table

T = TypeVar("T")
_DAY = 86_400.0


class _Running:
    """What one application has of this plugin: it outlives changes of configuration."""

    def __init__(self) -> None:
        self.memory: Memory | None = None
        self.layer: AdaptiveTtl | None = None
        self.store: Store | None = None


_running: WeakKeyDictionary[Context, _Running] = WeakKeyDictionary()


@hookimpl
def register_config() -> type:
    """The class of the table ``[plugins.adaptive_ttl]``."""
    return AdaptiveTtlConfig


@hookimpl
def register_hookspecs() -> object:
    """The hooks by which others register policies and regime detectors."""
    return hookspecs


@hookimpl
def register_layer(config: AdaptiveTtlConfig, context: Context) -> Layer:
    """The layer in its slot."""
    running = _running.setdefault(context, _Running())
    if running.layer is not None:
        running.layer.close()
    memory = running.memory = _memory(config, context, running.memory)
    layer = running.layer = AdaptiveTtl(
        _policy(config, context, memory),
        memory,
        _calendars(config),
        config.operations,
        context,
    )
    return Layer(NAME, layer, slot=NAME, explain=layer.explain)


@hookimpl
def register_observers(context: Context) -> Iterable[Observer]:
    """What learns from the answers that pass by; it follows the layer across reloads."""
    running = _running.setdefault(context, _Running())

    @observes(AnswerSeen)
    def observe(event: Event) -> None:
        if running.layer is not None:
            running.layer.observe(event)

    return [observe]


@hookimpl
async def startup(config: AdaptiveTtlConfig, context: Context) -> None:
    """Read what was learned before."""
    running = _running[context]
    if running.layer is None or running.memory is None:
        return
    await context.stamps.load([f"layer:{NAME}"])
    running.store = Store(context.state_dir / f"{NAME}.json")
    await running.store.restore(running.memory, running.layer.calendars, context.clock.time())
    if config.save_every > 0.0:
        context.tasks.spawn(f"{NAME}: save", _save_regularly(running, context, config.save_every))


@hookimpl
async def shutdown(context: Context) -> None:
    """Write what was learned."""
    running = _running.pop(context, None)
    if running is None or running.layer is None or running.memory is None:
        return
    running.layer.close()
    if running.store is not None:
        await running.store.save(running.memory)


async def _save_regularly(running: _Running, context: Context, seconds: float) -> None:
    while True:
        await context.clock.sleep(seconds)
        if running.store is not None and running.memory is not None:
            await running.store.save(running.memory)


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
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
    msg = f"[plugins.{NAME}] {key} is {name!r}, which nobody registers: {hint}"
    raise ConfigError(msg)
