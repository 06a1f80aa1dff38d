"""What users write, for a type checker to read: it is checked, never run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import assert_type

from argo_mw import Argo, BlockingArgo, Caller, Explained, Outcome
from argo_mw.plugin import (
    Batching,
    Call,
    Context,
    Guard,
    Layer,
    Limits,
    Middleware,
    Next,
    Operation,
    Request,
    Result,
    Shared,
    Upstream,
    hookimpl,
    operation,
)
from argo_mw.testing import FakeClock, UnreachableStore


@operation(data_type="market_data", subject="symbol")
def bars(symbol: str, *, days: int = 90) -> object:
    """Price bars."""


assert_type(bars, Operation)


async def program() -> None:
    async with Argo.open({"argo": {"tenant": "acme"}}, clock=FakeClock()) as argo:
        assert_type(argo, Argo)
        assert_type(await argo.call("bars", symbol="AAPL"), object)
        assert_type(await argo.outcome("bars", symbol="AAPL"), Outcome)
        assert_type(await argo.map("bars", ["AAPL"], days=5), dict[str, Outcome | Exception])
        assert_type(argo.options(timeout=1.0, max_age=5.0), Caller)
        assert_type(argo.explain("bars", symbol="AAPL"), list[Explained])

        @argo.wrap(data_type="sentiment", subject="symbol")
        async def mood(symbol: str, days: int = 1) -> float:
            return 0.0

        assert_type(await mood("AAPL", days=2), float)


def script() -> None:
    with BlockingArgo() as argo:
        assert_type(argo.outcome("bars", symbol="AAPL"), Outcome)


class Trace:
    """A middleware as people write them."""

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        outcome = await call_next(call)
        return outcome.shaped_by("trace", f"{call.subject} passed")


middleware: Middleware = Trace()
shared: Shared = UnreachableStore()


class Thrifty:
    """A guard as people write them."""

    name = "thrifty"

    async def reserve(self, request: Request) -> None: ...

    async def settle(self, request: Request, result: Result) -> None: ...

    async def release(self, request: Request) -> None: ...


guard: Guard = Thrifty()


async def fetch(call: Call) -> Outcome:
    return Outcome(call.subject)


async def fetch_many(calls: Sequence[Call]) -> Sequence[Outcome | Exception]:
    return [Outcome(call.subject) for call in calls]


class Plugin:
    """A plugin as people write them."""

    @hookimpl
    def register_layers(self) -> Layer:
        return Layer("trace", middleware, after=("cache",))

    @hookimpl
    def register_upstreams(self, context: Context) -> Iterable[Upstream]:
        batching = Batching(fetch_many, most=10)
        return [Upstream("x", {"bars"}, fetch, batching=batching, limits=Limits(per_day=25))]
