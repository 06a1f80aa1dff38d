"""A circuit breaker: leaves an upstream alone that fails too often.

Michael Nygard, "Release It!", 2007. Its half-open state admits one request; the others are
refused until that one has ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Literal

from argo_mw.plugin import (
    Action,
    CircuitOpen,
    Context,
    LayerActed,
    Outcome,
    Refusal,
    Request,
    Result,
    Upstream,
    UpstreamError,
)
from argo_mw_race.config import BreakerConfig

_TIMED_OUT = 0.99
_TOO_MANY_REQUESTS = 429

Verdict = Literal["well", "failed", "unknown"]
State = Literal["closed", "open", "half-open"]


class Breaker:
    """Guards one upstream, in this process.

    Attributes:
        name: What it is called among guards.
        state: ``closed`` lets requests pass, ``open`` refuses them, ``half-open`` waits for the
            one that shows whether the upstream is well again.
    """

    name = "breaker"

    def __init__(self, upstream: Upstream, config: BreakerConfig, context: Context) -> None:
        self.state: State = "closed"
        self._upstream = upstream.name
        self._config = config
        self._context = context
        self._clock = context.clock
        self._results: deque[bool] = deque(maxlen=config.window)
        self._cool_down = config.cool_down
        self._opens_at = 0.0
        self._probe: Request | None = None
        self._started: dict[int, float] = {}

    async def reserve(self, request: Request) -> None:
        """Let *request* pass if the upstream seems well, or as the one probe.

        Raises:
            CircuitOpen: The upstream is left alone.
        """
        now = self._clock.monotonic()
        if self.state == "open" and now >= self._opens_at:
            self._enter("half-open")
        if self.state == "open":
            raise self._refusal(self._opens_at - now)
        if self.state == "half-open":
            if self._probe is not None:
                raise self._refusal(self._config.cool_down)
            self._probe = request
        self._started[id(request)] = now

    def settle(self, request: Request, result: Result) -> None:
        """Learn from how *request* ended."""
        seconds = self._clock.monotonic() - self._started.pop(id(request))
        verdict = judge(result, timed_out=seconds >= _TIMED_OUT * request.upstream.timeout)
        if all(call.operation.kind == "compute" for call in request.calls):
            # What the application works out fails by what it asks of others, who have their own.
            verdict = "unknown"
        if request is self._probe:
            self._probe = None
            self._settle_probe(verdict)
        elif self.state == "closed" and verdict != "unknown":
            self._results.append(verdict == "failed")
            if sum(self._results) >= self._config.failures:
                self._open()

    async def release(self, request: Request) -> None:
        """Forget *request*, which was never sent."""
        self._started.pop(id(request), None)
        if request is self._probe:
            self._probe = None

    def _settle_probe(self, verdict: Verdict) -> None:
        if verdict == "failed":
            self._cool_down = min(2 * self._cool_down, self._config.longest)
            self._open()
        elif verdict == "well":
            self._cool_down = self._config.cool_down
            self._results.clear()
            self._enter("closed")

    def _open(self) -> None:
        self._opens_at = self._clock.monotonic() + self._cool_down
        self._enter("open")

    def _enter(self, state: State) -> None:
        self.state = state
        events = self._context.events
        if events:
            events.emit(LayerActed("race", f"breaker {state}", detail=self._upstream))

    def _refusal(self, seconds: float) -> CircuitOpen:
        msg = (
            f"upstream {self._upstream!r} has failed too often and is left alone; "
            f"ask again in {seconds:.0f} s"
        )
        return CircuitOpen(msg, retry_at=self._clock.time() + seconds)


def judge(result: Result, *, timed_out: bool) -> Verdict:
    """What *result* says about the health of an upstream.

    A request that was cancelled says nothing, unless that was at its own timeout; neither does
    a pushback, which quotas care for. An upstream that finds fault with the question is well.
    """
    verdicts = {_judge(one, timed_out) for one in result}
    if "well" in verdicts:
        return "well"
    return "failed" if "failed" in verdicts else "unknown"


def _judge(one: Outcome | BaseException, timed_out: bool) -> Verdict:
    match one:
        case Outcome():
            return "well"
        case asyncio.CancelledError():
            return "failed" if timed_out else "unknown"
        case UpstreamError(action=Action.STOP):
            return "well"
        case UpstreamError(status=status) if status == _TOO_MANY_REQUESTS:
            return "unknown"
        case Refusal():
            return "unknown"
        case _:
            return "failed" if isinstance(one, Exception) else "unknown"
