"""Spaces out what each upstream is asked, instead of refusing it."""

from __future__ import annotations

from argo_mw.plugin import Call, Clock, Context, Layer, Next, Outcome, Refusal, hookimpl
from attrs import field, frozen, validators

NAME = "pace"


@frozen
class Config:
    """The table ``[plugins.pace]``.

    Attributes:
        per_second: Calls a second that each upstream is asked in the long run.
        burst: Calls that may go out at once after a pause.
        longest_wait: Seconds that a call waits for its turn at most.
    """

    per_second: float = field(default=5.0, validator=validators.gt(0))
    burst: int = field(default=5, validator=validators.ge(1))
    longest_wait: float = field(default=10.0, validator=validators.ge(0))


class Pace:
    """Lets calls through one after the other, by the generic cell rate algorithm.

    All that is kept is one time for each upstream: when it will have worked off what it was asked.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        self._interval = 1 / config.per_second
        self._tolerance = (config.burst - 1) * self._interval
        self._longest_wait = config.longest_wait
        self._clock = clock
        self._worked_off: dict[str, float] = {}

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """Hand *call* on when it is its turn.

        Raises:
            Refusal: Its turn would come too late.
        """
        wait = self._wait(call)
        if wait > self._longest_wait:
            msg = (
                f"{call.upstream} has {wait:.1f} s of calls before this one; ask later, or raise "
                f"longest_wait in [plugins.{NAME}]"
            )
            raise Refusal(msg, retry_at=self._clock.time() + wait - self._longest_wait)
        self._take_turn(call)
        if wait <= 0:
            return await call_next(call)
        await self._clock.sleep(wait)
        outcome = await call_next(call)
        return outcome.shaped_by(NAME, f"waited {wait:.1f} s for its turn")

    def explain(self, call: Call) -> str:
        """What it would do with *call*, for ``argo-mw explain``."""
        wait = self._wait(call)
        return f"would wait {wait:.1f} s for its turn" if wait > 0 else "would pass it on at once"

    def _wait(self, call: Call) -> float:
        now = self._clock.monotonic()
        return self._worked_off.get(call.upstream or "", now) - self._tolerance - now

    def _take_turn(self, call: Call) -> None:
        name, now = call.upstream or "", self._clock.monotonic()
        self._worked_off[name] = max(now, self._worked_off.get(name, now)) + self._interval


@hookimpl
def register_config() -> type:
    """The class of the plugin's table."""
    return Config


@hookimpl
def register_layers(config: Config, context: Context) -> Layer:
    """The layer, inside of ``race``: there a call is bound to one upstream."""
    pace = Pace(config, context.clock)
    return Layer(NAME, pace, after=("similarity",), before=("persist",), explain=pace.explain)
