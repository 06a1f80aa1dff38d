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
        judge: Whether this instance may judge ramps; one of the instances that may is the judge.
        every: Seconds between two looks at the counters.
        lease_ttl: Seconds after which another instance replaces a judge that is gone.
        block: Length of the blocks of time in which subjects are counted, in seconds.
        audits: The share of served answers that are checked by asking an upstream again; with 0,
            wrong answers are not found.
        wrong_above: The relative difference between a number in a served answer and in a fresh one
            above which the answer counts as wrong rather than old.
        webhook: The URL to which every change of a ramp, such as a rollback, is posted as JSON;
            take it from the environment if it contains a secret.
    """

    plans: Mapping[str, Plan] = field(factory=dict)
    judge: bool = True
    every: float = field(default=5.0, validator=validators.gt(0))
    lease_ttl: float = field(default=20.0, validator=validators.gt(0))
    block: float = field(default=30.0, validator=validators.ge(1))
    audits: float = field(default=0.01, validator=[validators.ge(0), validators.le(0.01)])
    wrong_above: float = field(default=0.05, validator=validators.gt(0))
    webhook: SecretUrl = field(default=SecretUrl(""))
