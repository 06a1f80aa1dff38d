"""Spaces out what each upstream is asked, instead of refusing it."""

from __future__ import annotations

from collections.abc import Iterable

from argo_mw.plugin import Call, Clock, Context, Layer, Next, Outcome, Refusal, hookimpl
from attrs import field, frozen, validators

NAME = "pace"


@frozen
class Config:
    """The table ``[plugins.pace]``.

    Attributes:
        per_second: Calls a second that each upstream is asked in the long run.
        burst: Calls that may go out at once after a pause.
        max_wait: Seconds that a call waits for its turn at most.
    """

    per_second: float = field(default=5.0, validator=validators.gt(0))
    burst: int = field(default=5, validator=validators.ge(1))
    max_wait: float = field(default=10.0, validator=validators.ge(0))


class Pace:
    """Lets calls through one after the other, by the generic cell rate algorithm.

    All that is kept is one time for each upstream: when its calls so far will have gone out.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        self._interval = 1 / config.per_second
        self._tolerance = (config.burst - 1) * self._interval
        self._max_wait = config.max_wait
        self._clock = clock
        self._free_at: dict[str, float] = {}

    def take_over(self, previous: Pace) -> None:
        """Keep the turns that calls were given before the configuration changed."""
        self._free_at = previous._free_at

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """Pass *call* on when it is its turn.

        Raises:
            Refusal: Its turn would come too late.
        """
        wait = self._wait(call.upstream or "")
        if wait > self._max_wait:
            msg = (
                f"{call.upstream} has {wait:.1f} s of calls before this one; ask later, or raise "
                f"max_wait in [plugins.{NAME}]"
            )
            raise Refusal(msg, retry_at=self._clock.time() + wait - self._max_wait)
        self._take_turn(call)
        if wait <= 0:
            return await call_next(call)
        await self._clock.sleep(wait)
        outcome = await call_next(call)
        return outcome.shaped_by(NAME, f"waited {wait:.1f} s for its turn")

    def explain(self, call: Call) -> str:
        """Say what it would do with *call*, for ``argo-mw explain``."""
        # The call that is explained is bound to no upstream yet.
        wait = max(map(self._wait, self._free_at), default=0.0)
        return f"would wait for its upstream's turn, now {wait:.1f} s at most"

    def _wait(self, upstream: str) -> float:
        now = self._clock.monotonic()
        return self._free_at.get(upstream, now) - self._tolerance - now

    def _take_turn(self, call: Call) -> None:
        name, now = call.upstream or "", self._clock.monotonic()
        self._free_at[name] = max(now, self._free_at.get(name, now)) + self._interval


class Plugin:
    """What the plugin registers."""

    @hookimpl
    def register_config(self) -> type:
        """Return the class of the plugin's table."""
        return Config

    @hookimpl
    def register_layers(self, config: Config, context: Context) -> Iterable[Layer]:
        """Return the layer, inside of ``race``: there a call is bound to one upstream."""
        pace = Pace(config, context.clock)
        return [Layer(NAME, pace, after=("similarity",), before=("persist",))]
