"""What the plugin registers."""

from __future__ import annotations

from attrs import field, frozen, validators

from argo_mw import Context, Layer, hookimpl
from argo_mw_coalesce.flights import NAME, Coalesce


@frozen
class CoalesceConfig:
    """The table ``[plugins.coalesce]``.

    Attributes:
        share_failures: Seconds for which a failure is shared with callers who come later.
        most: Flights at once; calls beyond them fly alone.
    """

    share_failures: float = field(default=0.25, validator=validators.ge(0))
    most: int = field(default=100_000, validator=validators.gt(0))


@hookimpl
def register_config() -> type:
    """The class of the table ``[plugins.coalesce]``."""
    return CoalesceConfig


@hookimpl
def register_layer(config: CoalesceConfig, context: Context) -> Layer:
    """The layer at the outermost slot."""
    coalesce = Coalesce(context, share_failures=config.share_failures, most=config.most)
    return Layer(NAME, coalesce, slot=NAME, peek_through=True, explain=coalesce.explain)
