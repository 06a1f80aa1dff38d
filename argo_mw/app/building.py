"""Building: plugins, settings and flags become a pipeline."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from attrs import evolve

from argo_mw.app.call_cache import CallCache
from argo_mw.app.contributing import Contributing
from argo_mw.app.pipeline import UPSTREAM_FLAG, Contributions, Pipeline
from argo_mw.app.unknown_names import unknown, unknown_operation
from argo_mw.app.upstreams import BoundUpstream, UpstreamBinder
from argo_mw.base.cancellation import described
from argo_mw.base.errors import ConfigError
from argo_mw.chain.answering import Answering
from argo_mw.chain.compose import Chain
from argo_mw.chain.context import Context
from argo_mw.chain.order import order
from argo_mw.chain.shadow import ShadowRunner
from argo_mw.config import OperationSettings, Settings
from argo_mw.flags import Flag, Rule
from argo_mw.flags.fleet import Fleet
from argo_mw.flags.sources import FLEET, resolve
from argo_mw.model.call import Call
from argo_mw.model.events import LayerBypassed
from argo_mw.model.layer import Layer, Shadows
from argo_mw.model.operation import AnyOperation
from argo_mw.registry import Plugins

_NO_RULES: Mapping[str, Rule] = MappingProxyType({})
_NONE_GIVEN: Mapping[str, Contributions] = MappingProxyType({})


class PipelineBuilder:
    """Builds the pipelines of one application.

    Args:
        plugins: The plugins in use.
        context: Their context.
        answering: The calls that upstreams are answering.
        given: Operations and upstreams that the program itself brings, by name; there may be more
            by the next time that a pipeline is built.
    """

    def __init__(
        self,
        plugins: Plugins,
        context: Context,
        answering: Answering,
        given: Mapping[str, Contributions] = _NONE_GIVEN,
    ) -> None:
        self._plugins = plugins
        self._context = context
        self._binder = UpstreamBinder(plugins, context, answering)
        self._shadows = ShadowRunner(context.clock, context.tasks, self._report)
        self._contributing = Contributing(plugins, context, given)

    def build(
        self,
        settings: Settings,
        overlay: Mapping[str, Rule],
        previous: Pipeline | None = None,
        *,
        fleet: Mapping[str, Rule] = _NO_RULES,
    ) -> Pipeline:
        """Return a pipeline for *settings*, which takes over what it can from *previous*.

        Args:
            settings: What is configured.
            overlay: The rules of flags that are set for this machine.
            previous: The pipeline in use.
            fleet: The rules that are set for the fleet.

        Raises:
            ConfigError: Something is named that does not exist, named twice, or out of order.
            PluginError: A plugin is broken, in strict mode.
        """
        contributions = self._contributing.collect(settings, previous)
        operations = _operations(contributions, settings, self._plugins.absent)
        if self._contributing.leave_out_unserving(contributions, operations):
            return self.build(settings, overlay, previous, fleet=fleet)
        flags = self._flags(contributions, settings, overlay, fleet)
        absent = self._plugins.absent
        off = {name for name, flag in flags.items() if flag.rule.constant is False} | absent
        broken = len(self._plugins.broken)
        upstreams = self._binder.bind(
            (upstream for one in contributions.values() for upstream in one.upstreams),
            settings,
            off,
            previous.upstreams if previous is not None else {},
        )
        if len(self._plugins.broken) > broken:
            # A plugin that cannot guard is left out with its upstreams: they may be what it guards.
            return self.build(settings, overlay, previous, fleet=fleet)
        return self._compose(settings, overlay, fleet, contributions, operations, upstreams, flags)

    def build_for_fleet(
        self,
        settings: Settings,
        overlay: Mapping[str, Rule],
        fleet: Fleet,
        previous: Pipeline | None = None,
    ) -> Pipeline:
        """Return a pipeline as :meth:`build` does, with what others have set as far as it applies.

        Where no chain can be built with the flags of the *fleet*, those that it holds off are off
        all the same, and the rest counts as not set. What others have set keeps no machine from
        starting.

        Raises:
            ConfigError: It cannot be built without them either.
            PluginError: A plugin is broken, in strict mode.
        """
        try:
            return self.build(settings, overlay, previous, fleet=fleet.rules)
        except ConfigError as error:
            if not fleet.rules:
                raise
            fault = error
        try:
            pipeline = self.build(settings, overlay, previous, fleet=fleet.holds)
        except ConfigError:
            if previous is not None:
                raise fault from None
            pipeline = self.build(settings, overlay)
        what = f"some are not in use here, since no chain can be built with them: {fault}"
        self._context.warn_once("flags of the fleet", what)
        return pipeline

    def _compose(
        self,
        settings: Settings,
        overlay: Mapping[str, Rule],
        fleet: Mapping[str, Rule],
        contributions: Mapping[str, Contributions],
        operations: Mapping[str, AnyOperation],
        upstreams: Mapping[str, BoundUpstream],
        flags: Mapping[str, Flag],
    ) -> Pipeline:
        layers = [layer for one in contributions.values() for layer in one.layers]
        flags = _with_shadows_checked(flags, layers)
        absent = self._plugins.absent
        candidates = {name: _candidates(name, upstreams, settings, absent) for name in operations}
        chains: dict[str, Chain] = {}
        pipeline = Pipeline(
            settings=settings,
            overlay=overlay,
            fleet=fleet,
            contributions=contributions,
            operations=operations,
            upstreams=upstreams,
            flags=flags,
            order=order(layer for layer in layers if not flags[layer.flag].rule.idle),
            chains=chains,
            calls=CallCache(chains, lambda name: unknown_operation(name, operations)),
            candidates=candidates,
            constant_candidates={n: _constant(names, flags) for n, names in candidates.items()},
        )
        callers = {name: bound.caller for name, bound in upstreams.items()}
        for name, operation in operations.items():
            constant = pipeline.constant_candidates[name]
            chains[name] = Chain(
                operation,
                pipeline.order,
                flags,
                callers,
                pipeline.names_for,
                self._report,
                self._shadows,
                self._context.events,
                self._context.counters.tallies,
                concerned=_concerned(operation, layers, candidates[name], contributions),
                only=constant[0] if constant is not None and len(constant) == 1 else None,
            )
        return pipeline

    def _flags(
        self,
        contributions: Mapping[str, Contributions],
        settings: Settings,
        overlay: Mapping[str, Rule],
        fleet: Mapping[str, Rule],
    ) -> dict[str, Flag]:
        known: list[str] = []
        for one in contributions.values():
            known += [layer.flag for layer in one.layers]
            known += [UPSTREAM_FLAG + upstream.name for upstream in one.upstreams]
            known += one.flags
        absent = self._plugins.absent
        return resolve(
            known, configured=settings.flags, overlay=overlay, fleet=fleet, left_out=absent
        )

    def _report(self, layer: Layer, call: Call, error: BaseException) -> None:
        what = described(error)
        if layer.fail_closed:
            self._context.announce(layer.name, "failed closed", call, what)
            outcome = "calls that it serves are refused"
        else:
            self._context.acted(layer.name, "bypassed")
            if self._context.events:
                self._context.events.emit(LayerBypassed(layer.name, call, error))
            outcome = "was bypassed"
        self._context.warn_once(f"layer {layer.name}", f"it failed and {outcome}: {what}")


def _operations(
    contributions: Mapping[str, Contributions], settings: Settings, absent: Collection[str]
) -> dict[str, AnyOperation]:
    operations: dict[str, AnyOperation] = {}
    data_types = {name for one in contributions.values() for name in one.data_types}
    for operation in (o for one in contributions.values() for o in one.all_operations):
        if operation.name in operations:
            msg = f"two plugins offer the operation {operation.name!r}; block one of them"
            raise ConfigError(msg)
        if operation.data_type and operation.data_type not in data_types:
            where = f"the operation {operation.name!r}"
            raise unknown("data type", operation.data_type, data_types, where, absent)
        wanted = settings.operations.get(operation.name, OperationSettings())
        operations[operation.name] = _configured(operation, wanted)
    for name in settings.operations:
        if name not in operations:
            where = f"{settings.source} [operations.{name}]"
            raise unknown("operation", name, operations, where, absent)
    for plugin, one in contributions.items():
        for name in _operation_tables(one.config):
            if name not in operations:
                where = f"{settings.source} [plugins.{plugin}.operations.{name}]"
                raise unknown("operation", name, operations, where, absent)
    return operations


def _configured(operation: AnyOperation, wanted: OperationSettings) -> AnyOperation:
    if wanted.timeout is wanted.ttl is wanted.grace is None:
        return operation
    return evolve(
        operation,
        timeout=operation.timeout if wanted.timeout is None else wanted.timeout,
        ttl=operation.ttl if wanted.ttl is None else wanted.ttl,
        grace=operation.grace if wanted.grace is None else wanted.grace,
    )


def _operation_tables(config: object) -> Iterable[str]:
    """Return the operations named in the field ``operations`` of a plugin's table."""
    tables = getattr(config, "operations", None)
    return tables if isinstance(tables, Mapping) else ()


def _candidates(
    operation: str,
    upstreams: Mapping[str, BoundUpstream],
    settings: Settings,
    absent: Collection[str],
) -> tuple[str, ...]:
    able = [name for name, bound in upstreams.items() if operation in bound.upstream.operations]
    wanted = settings.operations.get(operation, OperationSettings()).upstreams
    if wanted is None:
        return tuple(able)
    where = f"{settings.source} [operations.{operation}] upstreams"
    for name in wanted:
        if name not in able:
            raise unknown("upstream", name, able, where, absent)
    if len(set(wanted)) < len(wanted):
        twice = next(name for name in wanted if wanted.count(name) > 1)
        msg = f"{where} names {twice!r} twice, which would be asked twice; name it once"
        raise ConfigError(msg)
    return wanted


def _concerned(
    operation: AnyOperation,
    layers: Iterable[Layer],
    candidates: Iterable[str],
    contributions: Mapping[str, Contributions],
) -> frozenset[str]:
    """Return the flags that calls of *operation* may depend on.

    Those of its layers and upstreams, and of the parts of plugins, less the parts of plugins whose
    layers are all for other operations.
    """
    serving = {layer.flag for layer in layers if layer.serves(operation)}
    parts = [
        flag
        for name, one in contributions.items()
        if name in serving or not one.layers
        for flag in one.flags
    ]
    return frozenset((*serving, *parts, *(UPSTREAM_FLAG + name for name in candidates)))


def _constant(names: Sequence[str], flags: Mapping[str, Flag]) -> tuple[str, ...] | None:
    states = [flags[UPSTREAM_FLAG + name].rule.constant for name in names]
    if None in states:
        return None
    return tuple(name for name, on in zip(names, states, strict=True) if on)


def _with_shadows_checked(flags: Mapping[str, Flag], layers: Iterable[Layer]) -> Mapping[str, Flag]:
    """Return *flags*, with those off that another machine has set to what they cannot do here.

    Raises:
        ConfigError: This machine has set one to ``shadow`` that cannot shadow.
    """
    able = {layer.flag for layer in layers if isinstance(layer.middleware, Shadows)}
    checked = dict(flags)
    for name, flag in flags.items():
        if not flag.rule.shadows or name in able:
            continue
        if flag.source != FLEET:
            raise cannot_shadow(name, flag.source)
        fault = "the fleet sets it to 'shadow', and it cannot shadow here"
        checked[name] = Flag(name, flag.rule, source=FLEET, fault=fault)
    return checked


def cannot_shadow(name: str, source: str) -> ConfigError:
    """Return the error for flag *name*, which *source* sets to what it cannot do."""
    return ConfigError(
        f"flag {name!r} is set to 'shadow' by {source}, but {name!r} cannot shadow; "
        "set it to 'off', 'on' or a percentage"
    )
