"""The settings that the core itself knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen, validators

from argo_mw.base.secret import Secret, SecretUrl
from argo_mw.config.convert import Duration, OneOrMore, Shown, Size

_LEAST_MEMORY = 100 * 10**6
"""The least memory in bytes: below it, parts with fixed small bounds would take more than is
left."""


@frozen
class ArgoSettings:
    """The table ``[argo]``.

    Attributes:
        tenant: The tenant of calls that name none; it must not be empty.
        state_dir: Where state is kept; by default the user's state directory.
        shared: The URL of the store that instances share: ``sqlite`` for a file in the state
            directory, ``memory://``, ``sqlite:///PATH``, or one that a plugin brings
            (``redis://…``).
        signing_key: Signs the values in the shared store, so that others are refused; from the
            environment (``"${ARGO_SIGNING_KEY}"``).
        encryption_key: Encrypts the values in the shared store and kept answers, so that others
            are refused; from the environment (``"${ARGO_ENCRYPTION_KEY}"``). A list for rotation:
            the first key encrypts, all of them decrypt.
        max_decoded_bytes: The largest stored value, in bytes after decompression; a larger one is
            not written, and counts as missing if another program has written it.
        memory: What the parts keep in memory together, such as ``"512MB"``: each has a share of it,
            within its own bounds. It does not count the interpreter, the libraries and what calls
            under way hold. By default only the parts' own bounds hold.
        strict: Whether a broken plugin stops the start, instead of being skipped.
        watch: Whether a running application applies a changed ``argo.toml``, within a
            second. It always applies flags set by command.
        block: Names of plugins that are not loaded.
        required: Names of plugins without which nothing starts: one that is not installed, or is
            broken, stops the start whatever ``strict`` is.
        startup_timeout: Seconds that a plugin may take to start, and to shut down.
        lacking_ttl: Seconds after which an answer that lacks something, such as a signal without
            one of its voices, is tried again.
        counters_every: Seconds between publications of this instance's counters in the shared
            store; with 0, others cannot see them, and no ramp can be judged by them.
    """

    tenant: Shown = field(default="default", validator=validators.min_len(1))
    state_dir: Path | None = None
    shared: SecretUrl = field(default=SecretUrl("sqlite"))
    signing_key: Secret | None = None
    encryption_key: OneOrMore = ()
    max_decoded_bytes: int = field(default=64 * 2**20, validator=validators.gt(0))
    memory: Size | None = field(
        default=None, validator=validators.optional(validators.ge(_LEAST_MEMORY))
    )
    strict: bool = False
    watch: bool = True
    block: tuple[Shown, ...] = ()
    required: tuple[Shown, ...] = ()
    startup_timeout: float = field(default=30.0, validator=validators.gt(0))
    lacking_ttl: float = field(default=60.0, validator=validators.gt(0))
    counters_every: float = field(default=5.0, validator=validators.ge(0))


@frozen
class OperationSettings:
    """A table ``[operations.NAME]``.

    Attributes:
        timeout: The longest that callers wait for an answer, in seconds; by default the operation's
            own limit.
        ttl: How long an answer is fresh, in seconds or as a text such as ``"2m"``; by default what
            the operation, its upstream and the layers decide.
        grace: How long after its expiry an answer may be served if no newer one can be had; by
            default what the operation and the layers decide.
        upstreams: The upstreams to ask, in this order; by default all that answer it.
    """

    timeout: float | None = field(default=None, validator=validators.optional(validators.gt(0)))
    ttl: Duration | None = None
    grace: Duration | None = None
    upstreams: tuple[Shown, ...] | None = None


@frozen
class UpstreamSettings:
    """A table ``[upstreams.NAME]``: what to change about an upstream.

    Attributes:
        timeout: Seconds for one attempt.
        retries: How often a call is repeated after an error that allows it.
        max_batch: The most calls in one request; 1 sends each alone.
        per_second: Requests in a second; 0 lifts the upstream's own limit.
        per_minute: Requests in a minute; 0 lifts its own limit.
        per_day: Requests in a UTC day; 0 lifts its own limit.
        concurrency: Simultaneous requests; 0 lifts its own limit.
    """

    timeout: float | None = field(default=None, validator=validators.optional(validators.gt(0)))
    retries: int | None = field(default=None, validator=validators.optional(validators.ge(0)))
    max_batch: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    per_second: int | None = field(default=None, validator=validators.optional(validators.ge(0)))
    per_minute: int | None = field(default=None, validator=validators.optional(validators.ge(0)))
    per_day: int | None = field(default=None, validator=validators.optional(validators.ge(0)))
    concurrency: int | None = field(default=None, validator=validators.optional(validators.ge(0)))


@frozen
class Settings:
    """Everything that was configured.

    Attributes:
        argo: The core's own settings.
        flags: What each flag is set to, as written.
        operations: Changes to operations, by name.
        upstreams: Changes to upstreams, by name.
        plugins: The plugins' own tables; each plugin's class checks its own, and until then no
            text in them is shown.
        source: Where all this was read from, for errors.
    """

    argo: ArgoSettings = field(factory=ArgoSettings)
    flags: Mapping[str, object] = field(factory=dict)
    operations: Mapping[str, OperationSettings] = field(factory=dict)
    upstreams: Mapping[str, UpstreamSettings] = field(factory=dict)
    plugins: Mapping[str, Mapping[str, object]] = field(factory=dict)
    source: str = "defaults"
