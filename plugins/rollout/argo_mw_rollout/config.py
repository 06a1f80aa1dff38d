"""The plugin's configuration."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen, validators

from argo_mw.plugin import SecretUrl
from argo_mw_rollout.plan import Plan


@frozen
class RolloutConfig:
    """The table ``[plugins.rollout]``.

    Attributes:
        plans: The plan of each flag, by its name; a flag without one is ramped by the defaults.
        judge: Whether this instance may judge ramps; one of those that may does.
        every: Seconds between two looks at what was counted.
        lease_ttl: Seconds after which another instance judges, when the one that did is gone.
        block: Seconds of a block of time, in which subjects are counted.
        audits: The share of served answers that are checked by asking an upstream afresh; 0 to
            check none, so that wrong answers are not found.
        wrong_above: How far a number in a served answer may be from a fresh one, relative to that,
            before it counts as wrong and not as old.
        webhook: Where a rollback, and whatever else changes a ramp, is posted as JSON; from the
            environment, where the URL holds a secret.
    """

    plans: Mapping[str, Plan] = field(factory=dict)
    judge: bool = True
    every: float = field(default=5.0, validator=validators.gt(0))
    lease_ttl: float = field(default=20.0, validator=validators.gt(0))
    block: float = field(default=30.0, validator=validators.ge(1))
    audits: float = field(default=0.01, validator=[validators.ge(0), validators.le(0.01)])
    wrong_above: float = field(default=0.05, validator=validators.gt(0))
    webhook: SecretUrl = field(default=SecretUrl(""))
