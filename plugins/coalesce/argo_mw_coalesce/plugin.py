"""What the plugin registers."""

from __future__ import annotations

from attrs import field, frozen, validators

from argo_mw import Context, Layer, hookimpl
from argo_mw_coalesce.fleet import Fleet
from argo_mw_coalesce.flights import NAME, Coalesce


@frozen
class CoalesceConfig:
    """The table ``[plugins.coalesce]``.

    Attributes:
        share_failures: Seconds for which a failure is shared with callers who come later.
        fleet: Whether a load is made only once among all instances that share a store.
        lease: Seconds after which an instance that died while it loaded is replaced.
        keep: Seconds for which an answer is left in the store for instances that wait for it.
        shared_timeout: Seconds to wait for the store at most, once there is an answer.
        most: Flights at once; calls beyond them fly alone.
    """

    share_failures: float = field(default=0.25, validator=validators.ge(0))
    fleet: bool = True
    lease: float = field(default=3.0, validator=validators.gt(0))
    keep: float = field(default=5.0, validator=validators.gt(0))
    shared_timeout: float = field(default=1.0, validator=validators.gt(0))
    most: int = field(default=100_000, validator=validators.gt(0))


@hookimpl
def register_config() -> type:
    """The class of the table ``[plugins.coalesce]``."""
    return CoalesceConfig


@hookimpl
def register_layer(config: CoalesceConfig, context: Context) -> Layer:
    """The layer at the outermost slot."""
    fleet = Fleet(context, lease=config.lease, keep=config.keep, patience=config.shared_timeout)
    coalesce = Coalesce(
        context,
        share_failures=config.share_failures,
        most=config.most,
        fleet=fleet if config.fleet and not context.alone else None,
    )
    return Layer(
        NAME,
        coalesce,
        slot=NAME,
        lookup=coalesce.lookup,
        peek_through=True,
        explain=coalesce.explain,
    )
