"""The plugin's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import Factory, field, frozen, validators

from argo_mw.plugin import AnyOperation

Strategy = Literal["fallback", "race", "hedge", "best"]
Order = Literal["learned", "configured"]

_COLD_STARTS = {"fetch": 1.0, "compute": 1.0, "llm": 10.0}


@frozen
class OperationRace:
    """A table ``[plugins.race.operations.NAME]``: what one operation does differently.

    Attributes:
        strategy: See :class:`RaceConfig`.
        order: See :class:`RaceConfig`.
        cold_start: See :class:`RaceConfig`.
        wait: See :class:`RaceConfig`.
    """

    strategy: Strategy | None = None
    order: Order | None = None
    cold_start: float | None = field(default=None, validator=validators.optional(validators.gt(0)))
    wait: float | None = field(default=None, validator=validators.optional(validators.gt(0)))


@frozen
class BreakerConfig:
    """The table ``[plugins.race.breaker]``.

    Attributes:
        failures: Failures among the last ``window`` requests that open the breaker of an
            upstream; 0 for no breakers.
        window: How many requests are looked back on.
        cool_down: Seconds for which an upstream is then left alone; doubled each time that its
            probe fails.
        longest: Seconds of that at most.
    """

    failures: int = field(default=10, validator=validators.ge(0))
    window: int = field(default=20, validator=validators.gt(0))
    cool_down: float = field(default=5.0, validator=validators.gt(0))
    longest: float = field(default=60.0, validator=validators.gt(0))

    def __attrs_post_init__(self) -> None:
        if self.failures > self.window:
            msg = (
                f"failures = {self.failures} can never be reached in a window of {self.window} "
                "requests; raise window, or lower failures"
            )
            raise ValueError(msg)


@frozen
class RaceConfig:
    """The table ``[plugins.race]``.

    Attributes:
        strategy: ``fallback`` asks one upstream after the other, as without the plugin;
            ``race`` asks all at once; ``hedge`` asks the next when the first is slower than
            usual; ``best`` asks all, waits, and takes the answer with the highest score.
        order: ``learned`` puts the upstream first that answers soonest and most reliably;
            ``configured`` keeps the order of the configuration.
        preference: How many times as long an upstream may be expected to take as the next in
            the configured order and still be asked before it.
        operations: What single operations do differently.
        cold_start: Seconds after which a hedge is sent while too little is known of an
            upstream, and the latency that is assumed of it; unless it is told, 1 s, and 10 s for
            language models, which take seconds when they are well and charge for every word.
        quantile: The share of an upstream's answers that come before a hedge is sent.
        wait: Seconds for which ``best`` waits for further answers, or most of the time that its
            caller has if that is less.
        budget: Hedges per call at most, on average.
        burst: Hedges that may be saved up.
        probes: The share of calls that ask another upstream than the best known one first,
            so that one that has recovered is found again.
        dollar_seconds: Seconds of latency that a saved dollar is worth when upstreams are put
            in order.
        scarce_per_day: Upstreams with at most this many requests a day are neither raced,
            hedged onto nor probed: they are asked when the others have failed.
        reap_timeout: Seconds that a cancelled request may take to end before that is reported.
        breaker: The circuit breakers.
    """

    strategy: Strategy = "hedge"
    order: Order = "learned"
    preference: float = field(default=1.5, validator=validators.ge(1))
    operations: Mapping[str, OperationRace] = Factory(dict)
    cold_start: float | None = field(default=None, validator=validators.optional(validators.gt(0)))
    quantile: float = field(default=0.95, validator=[validators.gt(0), validators.lt(1)])
    wait: float = field(default=2.0, validator=validators.gt(0))
    budget: float = field(default=0.07, validator=[validators.ge(0), validators.le(1)])
    burst: float = field(default=10.0, validator=validators.ge(1))
    probes: float = field(default=0.02, validator=[validators.ge(0), validators.le(1)])
    dollar_seconds: float = field(default=10.0, validator=validators.ge(0))
    scarce_per_day: int = field(default=1000, validator=validators.ge(0))
    reap_timeout: float = field(default=5.0, validator=validators.gt(0))
    breaker: BreakerConfig = Factory(BreakerConfig)

    def rules(self, operation: AnyOperation) -> Rules:
        """What holds for *operation*."""
        own = self.operations.get(operation.name, OperationRace())
        return Rules(
            strategy=own.strategy or self.strategy,
            order=own.order or self.order,
            cold_start=own.cold_start or self.cold_start or _COLD_STARTS[operation.kind],
            wait=own.wait or self.wait,
        )


@frozen
class Rules:
    """What holds for one operation; see :class:`RaceConfig`."""

    strategy: Strategy
    order: Order
    cold_start: float
    wait: float
