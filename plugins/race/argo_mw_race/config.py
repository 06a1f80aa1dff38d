"""The plugin's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from attrs import Factory, field, frozen, validators

from argo_mw.plugin import AnyOperation

Strategy = Literal["fallback", "race", "hedge", "best"]
Order = Literal["learned", "configured"]

_INITIAL_LATENCY: Final = {"fetch": 1.0, "compute": 1.0, "llm": 10.0}


@frozen
class OperationRace:
    """A table ``[plugins.race.operations.NAME]``: what one operation does differently.

    Attributes:
        strategy: See :class:`RaceConfig`.
        order: See :class:`RaceConfig`.
        initial_latency: See :class:`RaceConfig`.
        best_timeout: See :class:`RaceConfig`.
    """

    strategy: Strategy | None = None
    order: Order | None = None
    initial_latency: float | None = field(
        default=None, validator=validators.optional(validators.gt(0))
    )
    best_timeout: float | None = field(
        default=None, validator=validators.optional(validators.gt(0))
    )


@frozen
class BreakerConfig:
    """The table ``[plugins.race.breaker]``.

    Attributes:
        failure_threshold: Failures among the last ``window`` requests that open the breaker of
            an upstream; 0 for no breakers.
        window: The number of past requests that count.
        cool_down: Seconds for which an open breaker refuses every request, until it is half-open;
            doubled each time that the request it then admits fails.
        max_cool_down: The longest cool-down, in seconds.
    """

    failure_threshold: int = field(default=10, validator=validators.ge(0))
    window: int = field(default=20, validator=validators.gt(0))
    cool_down: float = field(default=5.0, validator=validators.gt(0))
    max_cool_down: float = field(default=60.0, validator=validators.gt(0))

    def __attrs_post_init__(self) -> None:
        if self.failure_threshold > self.window:
            msg = (
                f"failure_threshold = {self.failure_threshold} can never be reached in a window of "
                f"{self.window} requests; raise window, or lower failure_threshold"
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
        min_speedup: How many times as fast an upstream must be expected to answer as the one
            configured before it, to be asked first.
        operations: What single operations do differently.
        initial_latency: The assumed latency of an upstream, in seconds, and its hedge delay, while
            too little is known about it. By default 1 s, and 10 s for language models, which
            normally take seconds and charge for every word.
        hedge_quantile: The share of an upstream's answers that arrive within its hedge delay: a
            hedge is sent when an answer takes longer.
        best_timeout: Seconds for which ``best`` waits for further answers, or nine tenths of the
            caller's time if that is less.
        hedge_budget: The most hedges per request, on average. Calls that share a request count as
            one, and their hedges as the number of requests that they need.
        hedge_burst: Hedges that may be saved up.
        probe_ratio: The share of requests that first ask another upstream than the best known one,
            to find one that has become better. None does so by chance where it would take one
            more request: where the best known answers several calls in one, and with language
            models, whose answers are used again for the same model only.
        seconds_per_usd: Seconds of latency that a saved US dollar is worth when upstreams are put
            in order.
        scarce_per_day: Upstreams with at most this many requests a day are neither raced, hedged
            onto nor probed; they are asked only when the others have failed.
        cancel_timeout: Seconds that a cancelled request may take to end before that is reported.
        breaker: The circuit breakers.
    """

    strategy: Strategy = "hedge"
    order: Order = "learned"
    min_speedup: float = field(default=1.5, validator=validators.ge(1))
    operations: Mapping[str, OperationRace] = Factory(dict)
    initial_latency: float | None = field(
        default=None, validator=validators.optional(validators.gt(0))
    )
    hedge_quantile: float = field(default=0.95, validator=[validators.gt(0), validators.lt(1)])
    best_timeout: float = field(default=2.0, validator=validators.gt(0))
    hedge_budget: float = field(default=0.07, validator=[validators.ge(0), validators.le(1)])
    hedge_burst: float = field(default=10.0, validator=validators.ge(1))
    probe_ratio: float = field(default=0.02, validator=[validators.ge(0), validators.le(1)])
    seconds_per_usd: float = field(default=10.0, validator=validators.ge(0))
    scarce_per_day: int = field(default=1000, validator=validators.ge(0))
    cancel_timeout: float = field(default=5.0, validator=validators.gt(0))
    breaker: BreakerConfig = Factory(BreakerConfig)

    def rules(self, operation: AnyOperation) -> Rules:
        """Return what holds for *operation*."""
        own = self.operations.get(operation.name, OperationRace())
        return Rules(
            strategy=own.strategy or self.strategy,
            order=own.order or self.order,
            initial_latency=(
                own.initial_latency or self.initial_latency or _INITIAL_LATENCY[operation.kind]
            ),
            best_timeout=own.best_timeout or self.best_timeout,
        )


@frozen
class Rules:
    """What holds for one operation; see :class:`RaceConfig`."""

    strategy: Strategy
    order: Order
    initial_latency: float
    best_timeout: float
