"""Upstreams that take their time, by a clock that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import pytest

from argo_mw import Argo, Cost, Outcome
from argo_mw.plugin import UNLIMITED, AnyOperation, Batching, Call, Limits, Upstream, operation
from argo_mw.testing import FakeClock, FakePlugin
from argo_mw_race import plugin


def not_empty(value: object) -> str | None:
    return None if value else "an empty frame"


@operation(accept=not_empty, subject="symbol")
def bars(symbol: str) -> object:
    """Bars of one symbol."""


@operation(kind="llm", score=lambda value: value["confidence"], subject="symbol")
def opinion(symbol: str) -> object:
    """A model's opinion of one symbol."""


@operation(score=lambda value: value["confidence"], subject="symbol")
def rated(symbol: str) -> object:
    """Bars of one symbol, and how far they can be trusted."""


@operation(kind="compute", subject="symbol")
def worked_out(symbol: str) -> object:
    """A computation of the application itself."""


class Paced:
    """An upstream that follows a script of (seconds, value or error); the last line repeats.

    Attributes:
        asked: The calls that it received.
        requests: The calls of each request.
        cancelled: How many requests were cancelled.
        under_way: How many of them have not ended.
        script: What is left of the script.
    """

    def __init__(
        self,
        clock: FakeClock,
        name: str,
        *script: tuple[float, object],
        limits: Limits = UNLIMITED,
        price: float | None = None,
        timeout: float = 30.0,
        usd: float = 0.0,
        unsupported: Callable[[Call], str | None] | None = None,
        gathers: bool = False,
    ) -> None:
        self.asked: list[Call] = []
        self.requests: list[Sequence[Call]] = []
        self.cancelled = 0
        self.under_way = 0
        self._clock = clock
        self.script = list(script)
        self._usd = usd
        self.upstream = Upstream(
            name,
            {"bars", "opinion", "rated", "worked_out"},
            self._fetch,
            batching=Batching(self._fetch_many) if gathers else None,
            limits=limits,
            timeout=timeout,
            retries=0,
            price=price,
            unsupported=unsupported,
        )

    async def _fetch(self, call: Call) -> Outcome:
        [outcome] = await self._fetch_many([call])
        return outcome

    async def _fetch_many(self, calls: Sequence[Call]) -> Sequence[Outcome]:
        self.asked += calls
        self.requests.append(calls)
        seconds, answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.under_way += 1
        try:
            await self._clock.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1
        if isinstance(answer, Exception):
            raise answer
        return [Outcome(answer, cost=Cost(self._usd)) for _ in calls]


class Stage:
    """Opens applications with the race plugin around paced upstreams."""

    def __init__(self) -> None:
        self.clock = FakeClock(start=0.1)  # so that seconds passed are no remainder of a reading

    def upstream(self, name: str, *script: tuple[float, object], **options: object) -> Paced:
        return Paced(self.clock, name, *script, **options)

    def open(self, *upstreams: Paced, strict: bool = True, **race: object) -> Argo:
        """Open an application that draws no probes by default, so that no test depends on luck."""
        config = {"probe_ratio": 0.0, **race}
        return Argo.open(
            {"argo": {"shared": "memory://", "strict": strict}, "plugins": {"race": config}},
            clock=self.clock,
            plugins={"race": plugin, "asked": _asked(upstreams)},
            installed=False,
        )

    async def ask(
        self,
        argo: Argo,
        *,
        operation: str = "bars",
        symbol: str = "AAPL",
        step: float = 0.01,
        max_seconds: float = 60.0,
    ) -> Outcome:
        """Return the outcome, for which the clock is moved as far as needed."""
        task = asyncio.create_task(argo.outcome(operation, symbol=symbol))
        passed = 0.0
        await self.clock.advance(0)
        while not task.done() and passed < max_seconds:
            await self.clock.advance(step)
            passed += step
        return await task


def _asked(upstreams: tuple[Paced, ...]) -> FakePlugin:
    operations: list[AnyOperation] = [bars, opinion, rated, worked_out]
    return FakePlugin(operations=operations, upstreams=[one.upstream for one in upstreams])


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Return a stage; afterwards, no callback may have failed, which nobody else hears of."""
    failed: list[Mapping[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: failed.append(what))
    yield Stage()
    assert [] == failed
