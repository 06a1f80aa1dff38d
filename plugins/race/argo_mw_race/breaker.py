"""A circuit breaker: refuses requests to an upstream that fails too often.

Michael Nygard, "Release It!", 2007. Its half-open state admits one request; the others are
refused until that one has ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Literal, get_args

from argo_mw.plugin import (
    Action,
    CircuitOpen,
    Context,
    Outcome,
    Refusal,
    Request,
    Result,
    Standing,
    Upstream,
    UpstreamError,
)
from argo_mw_race.config import BreakerConfig

_TIMED_OUT: Final = 0.99
"""The share of an upstream's timeout after which a cancelled request counts as timed out."""
_TOO_MANY_REQUESTS: Final = 429

Health = Literal["healthy", "failed", "unknown"]
State = Literal["closed", "open", "half-open"]


class Breaker:
    """Guards one upstream, in this process.

    Attributes:
        name: Its name among guards.
        state: ``closed`` admits requests, ``open`` refuses them, ``half-open`` admits the one
            that shows whether the upstream is healthy again.
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
        self._half_open_at = 0.0
        self._probe: Request | None = None
        self._started: dict[int, float] = {}

    async def reserve(self, request: Request) -> None:
        """Admit *request* if the breaker is closed, or as the probe of a half-open one.

        Raises:
            CircuitOpen: The breaker is open, or its probe is under way.
        """
        now = self._clock.monotonic()
        if self.state == "open":
            if now < self._half_open_at:
                raise self._refusal(self._half_open_at - now)
            self._enter("half-open")
        if self.state == "half-open":
            if self._probe is not None:
                raise self._refusal(self._config.cool_down)
            self._probe = request
        self._started[id(request)] = now

    async def dry_run(self, request: Request) -> str:
        """Say whether *request* would be the probe.

        Raises:
            CircuitOpen: As for :meth:`reserve`.
        """
        if self.state == "closed":
            return ""
        left = self._half_open_at - self._clock.monotonic()
        if left > 0.0:
            raise self._refusal(left)
        if self._probe is not None:
            raise self._refusal(self._config.cool_down)
        return "would probe whether it is healthy again"

    def standing(self) -> Standing:
        """Return its state; one that would admit a probe now is half-open."""
        cooled_down = self._clock.monotonic() >= self._half_open_at
        now = "half-open" if self.state == "open" and cooled_down else self.state
        return Standing(states={state: state == now for state in get_args(State)})

    def settle(self, request: Request, result: Result) -> None:
        """Learn from the *result* of *request*."""
        seconds = self._clock.monotonic() - self._started.pop(id(request))
        if request.calls[0].operation.kind == "compute":  # as of all its calls
            # A computation fails through the calls that it makes; their upstreams have breakers.
            health: Health = "unknown"
        else:
            health = assess(result, timed_out=seconds >= _TIMED_OUT * request.upstream.timeout)
        if request is self._probe:
            self._probe = None
            self._settle_probe(health)
        elif self.state == "closed" and health != "unknown":
            failed = health == "failed"
            self._results.append(failed)
            if failed and sum(self._results) >= self._config.failure_threshold:
                self._open()

    async def release(self, request: Request) -> None:
        """Forget *request*, which was never sent."""
        self._started.pop(id(request), None)
        if request is self._probe:
            self._probe = None

    def _settle_probe(self, health: Health) -> None:
        if health == "failed":
            self._cool_down = min(2 * self._cool_down, self._config.max_cool_down)
            self._open()
        elif health == "healthy":
            self._cool_down = self._config.cool_down
            self._results.clear()
            self._enter("closed")

    def _open(self) -> None:
        self._half_open_at = self._clock.monotonic() + self._cool_down
        self._enter("open")

    def _enter(self, state: State) -> None:
        self.state = state
        self._context.announce("race", f"breaker {state}", detail=self._upstream)

    def _refusal(self, seconds: float) -> CircuitOpen:
        msg = (
            f"upstream {self._upstream!r} has failed too often, so its circuit breaker is open; "
            f"ask again in {seconds:.0f} s"
        )
        return CircuitOpen(msg, retry_at=self._clock.time() + seconds)


def assess(result: Result, *, timed_out: bool) -> Health:
    """Return what *result* shows about the health of an upstream.

    A request that was cancelled shows nothing, unless it had reached its own timeout; neither does
    a pushback, which quotas handle. An upstream that rejects the question is healthy.
    """
    found = [_assess(one, timed_out) for one in result]
    if "healthy" in found:
        return "healthy"
    return "failed" if "failed" in found else "unknown"


def _assess(one: Outcome | BaseException, timed_out: bool) -> Health:
    match one:
        case Outcome():
            return "healthy"
        case asyncio.CancelledError():
            return "failed" if timed_out else "unknown"
        case UpstreamError(action=Action.STOP):
            return "healthy"
        case UpstreamError(status=status) if status == _TOO_MANY_REQUESTS:
            return "unknown"
        case Refusal():
            return "unknown"
        case _:
            return "failed" if isinstance(one, Exception) else "unknown"
