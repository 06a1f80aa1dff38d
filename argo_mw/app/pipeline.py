"""The pipeline: from plugins, settings and flags to one chain per operation.

A pipeline is a value. A new one reuses the unchanged parts of the last: layers, upstreams and their
guards keep their state, so that a flag flip empties no cache and splits no flight. Calls under way
finish on the pipeline that they began with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import field, frozen

from argo_mw.app.call_cache import CallCache
from argo_mw.app.unknown_names import unknown_operation
from argo_mw.app.upstreams import BoundUpstream
from argo_mw.chain.compose import Chain
from argo_mw.chain.order import Order
from argo_mw.config import Settings
from argo_mw.counters.tally import Tally
from argo_mw.flags import Flag, Rule
from argo_mw.model.call import Call
from argo_mw.model.charge import CostTable
from argo_mw.model.layer import Layer
from argo_mw.model.operation import AnyOperation
from argo_mw.model.upstream import Upstream

UPSTREAM_FLAG = "upstream."


@frozen(eq=False)
class Contributions:
    """What one plugin brings, for one configuration of it.

    Attributes:
        derived: Those of its operations that depend on what other plugins bring.
        stands_in: Whether it stands in for a plugin that was left out.
    """

    config: object
    operations: tuple[AnyOperation, ...] = ()
    derived: tuple[AnyOperation, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    layers: tuple[Layer, ...] = ()
    flags: tuple[str, ...] = ()
    data_types: tuple[str, ...] = ()
    cost_table: CostTable | None = None
    stands_in: bool = False

    @property
    def all_operations(self) -> tuple[AnyOperation, ...]:
        """The operations, also the derived ones."""
        return (*self.operations, *self.derived)


@frozen(eq=False)
class Pipeline:
    """Everything that requests need, composed.

    Attributes:
        settings: What was configured.
        overlay: The rules of flags that were set by command for this machine.
        fleet: Those that were set for the fleet.
        contributions: What each plugin brings.
        operations: The operations, by name.
        upstreams: The upstreams with their guards, by name.
        flags: The flags, by name.
        order: The layers that act on some calls or shadow them, in their places.
        chains: One chain per operation.
        calls: The calls that were asked before.
        candidates: The names of the upstreams of each operation, in their order.
        constant_candidates: Those of them that are on, or ``None`` where that depends on the call.
    """

    settings: Settings
    overlay: Mapping[str, Rule]
    fleet: Mapping[str, Rule]
    contributions: Mapping[str, Contributions]
    operations: Mapping[str, AnyOperation]
    upstreams: Mapping[str, BoundUpstream]
    flags: Mapping[str, Flag]
    order: Order
    chains: Mapping[str, Chain]
    calls: CallCache
    candidates: Mapping[str, tuple[str, ...]]
    constant_candidates: Mapping[str, tuple[str, ...] | None]
    _constant_upstreams: Mapping[str, tuple[Upstream, ...]] = field(init=False)

    @_constant_upstreams.default
    def _of_constant_candidates(self) -> Mapping[str, tuple[Upstream, ...]]:
        constant = self.constant_candidates.items()
        return {
            operation: tuple(self.upstreams[name].upstream for name in names)
            for operation, names in constant
            if names is not None
        }

    @property
    def layers(self) -> Iterable[Layer]:
        """The layers of all plugins, including those that are off."""
        return [layer for one in self.contributions.values() for layer in one.layers]

    @property
    def held_tags(self) -> frozenset[str]:
        """The tags of what layers have served that a kill switch or a rollback holds off."""
        flags = {layer.flag: self.flags[layer.flag].rule for layer in self.layers}
        return frozenset(f"layer:{name}" for name, rule in flags.items() if rule.held)

    @property
    def cost_tables(self) -> Sequence[CostTable]:
        """The tables that may keep costs, less those of plugins whose layer is off for good."""
        return [
            one.cost_table
            for name, one in self.contributions.items()
            if one.cost_table is not None
            and not (name in self.flags and self.flags[name].rule.idle)
        ]

    @property
    def held_off(self) -> Mapping[str, Flag]:
        """The flags that are killed or rolled back, by name."""
        flags = self.flags.items()
        return {name: flag for name, flag in flags if flag.rule.held}

    def operation(self, name: str) -> AnyOperation:
        """Return the operation called *name*.

        Raises:
            UnknownOperation: No installed plugin offers it.
        """
        if name not in self.operations:
            raise unknown_operation(name, self.operations)
        return self.operations[name]

    def upstreams_for(self, call: Call) -> Sequence[Upstream]:
        """Return the upstreams that may answer *call*, in their configured order."""
        constant = self._constant_upstreams.get(call.operation.name)
        if constant is not None:
            return constant
        return [self.upstreams[name].upstream for name in self.names_for(call)]

    def tally_of(self, call: Call) -> Tally | None:
        """Return what counts *call*; ``None`` for an operation that is not offered any more."""
        chain = self.chains.get(call.operation.name)
        return None if chain is None else (chain.constant or chain.variant(call)).tally

    def names_for(self, call: Call) -> Sequence[str]:
        """Return the names of the upstreams that may answer *call*, less those that are off."""
        operation = call.operation.name
        constant = self.constant_candidates[operation]
        if constant is not None:
            return constant
        flags = self.flags
        names = self.candidates[operation]
        return [name for name in names if flags[UPSTREAM_FLAG + name].decide(call).on]
