"""The plugin's configuration and hooks."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import field, frozen, validators

from argo_mw.plugin import AnyOperation, Context, Layer, hookimpl
from argo_mw_coalesce.distributed import NAME as DISTRIBUTED
from argo_mw_coalesce.distributed import DistributedCoalesce
from argo_mw_coalesce.layer import NAME, Coalesce
from argo_mw_coalesce.loads import NAME as LOADS
from argo_mw_coalesce.loads import Loads


@frozen
class CoalesceConfig:
    """The table ``[plugins.coalesce]``.

    Attributes:
        failure_ttl: Seconds for which a failure is shared with later callers.
        distributed: Whether processes that share a store load an answer only once.
        lease_ttl: Seconds after which a process that died while it loaded is replaced.
        result_ttl: Seconds for which a result is kept in the store for waiting processes.
        store_timeout: Seconds to wait for the store once there is an answer.
        max_flights: The most simultaneous flights; further calls are passed on alone.
    """

    failure_ttl: float = field(default=0.25, validator=validators.ge(0))
    distributed: bool = True
    lease_ttl: float = field(default=3.0, validator=validators.gt(0))
    result_ttl: float = field(default=5.0, validator=validators.gt(0))
    store_timeout: float = field(default=1.0, validator=validators.gt(0))
    max_flights: int = field(default=100_000, validator=validators.gt(0))


@hookimpl
def register_config() -> type:
    """Return the class of the table ``[plugins.coalesce]``."""
    return CoalesceConfig


@hookimpl
def register_layers(config: CoalesceConfig, context: Context) -> Iterable[Layer]:
    """Return the outermost layer, of flights, and those inside of the caches, of loads."""
    coalesce = Coalesce(context, failure_ttl=config.failure_ttl, max_flights=config.max_flights)
    outer = Layer(NAME, coalesce, slot=NAME)
    inner = ("similarity",)
    if not config.distributed or context.single_process:
        return [outer, Layer(LOADS, Loads(context), after=("race",), before=inner)]
    loads = Layer(LOADS, Loads(context), after=("race",), before=(DISTRIBUTED, *inner))
    distributed = DistributedCoalesce(
        context,
        lease_ttl=config.lease_ttl,
        result_ttl=config.result_ttl,
        store_timeout=config.store_timeout,
    )
    fleet = Layer(DISTRIBUTED, distributed, after=("race",), before=inner, serves=_is_loaded)
    return [outer, loads, fleet]


def _is_loaded(operation: AnyOperation) -> bool:
    # Computing is cheap, and the calls that a computation makes have flights of their own.
    return operation.kind != "compute"
