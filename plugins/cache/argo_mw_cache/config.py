"""The plugin's configuration."""

from __future__ import annotations

import sys

from attrs import field, frozen, validators

from argo_mw.plugin import AnyOperation

_MEBIBYTE = 1 << 20


@frozen
class CacheConfig:
    """The table ``[plugins.cache]``.

    Attributes:
        ttl: Seconds that an answer lives if neither its upstream nor another layer sets its expiry.
        jitter: The largest share of ``ttl`` that is taken off at random, so that answers loaded
            together do not expire together.
        negative_ttl: Seconds for which a `NotFound` is remembered; 0 remembers none.
        grace: Seconds after its expiry for which an answer is served if no newer one can be had.
        early: How eagerly an answer is refreshed before it expires (XFetch's beta): 1 is
            optimal for loads of varying length, more is earlier, 0 is never.
        memory: Whether answers are kept in memory. Without it every hit is read from the shared
            store, for processes that have little memory or live for one call.
        shared: Whether answers are kept in the shared store too, so that other instances find
            them and they survive a restart.
        store_timeout: The longest to wait for the shared store, in seconds.
        soft_timeout: Seconds after which an old answer is served while a newer one is being loaded,
            or sooner if the caller has less time; 0 waits as long as the caller can.
        throttle: Seconds for which a source that has failed is not asked again while there is an
            old answer to serve; 0 asks it for every caller.
        max_entries: The most answers in memory.
        max_bytes: Their largest total size, approximately, in bytes.
        max_value_bytes: The largest size of one answer, in bytes.
    """

    ttl: float = field(default=120.0, validator=validators.gt(0))
    jitter: float = field(default=0.1, validator=[validators.ge(0), validators.lt(1)])
    negative_ttl: float = field(default=10.0, validator=validators.ge(0))
    grace: float = field(default=300.0, validator=validators.ge(0))
    early: float = field(default=1.0, validator=validators.ge(0))
    memory: bool = True
    shared: bool = True
    store_timeout: float = field(default=0.25, validator=validators.gt(0))
    soft_timeout: float = field(default=2.0, validator=validators.ge(0))
    throttle: float = field(default=2.0, validator=validators.ge(0))
    max_entries: int = field(
        default=50_000, validator=[validators.gt(0), validators.le(sys.maxsize)]
    )
    max_bytes: int = field(default=256 * _MEBIBYTE, validator=validators.gt(0))
    max_value_bytes: int = field(default=16 * _MEBIBYTE, validator=validators.gt(0))

    def grace_of(self, operation: AnyOperation) -> float:
        """Return the seconds after its expiry for which an answer to *operation* may be served."""
        return self.grace if operation.grace is None else operation.grace
