"""What users write, for a type checker to read: it is checked, never run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import assert_type

from argo_mw import Argo, BlockingArgo, Caller, Explained, Outcome
from argo_mw.cli import with_argo
from argo_mw.plugin import (
    AnyOperation,
    Batching,
    Call,
    Context,
    Decision,
    Event,
    Found,
    Guard,
    Layer,
    Limits,
    Middleware,
    Next,
    Operation,
    Request,
    Result,
    Upstream,
    collect,
    config_of,
    context_of,
    hookimpl,
    layers_of,
    observe,
    operation,
    plugin_of,
    suggest,
)
from argo_mw.store import Codecs, Shared, TagSnapshot, TagVersions
from argo_mw.testing import FakeClock, FakePlugin, LayerConformance, Scripted, UnreachableStore


@operation(data_type="weather", subject="city")
def forecast(city: str, *, days: int = 5) -> Sequence[float]:
    """The temperatures of the next days."""
    raise NotImplementedError


@operation()
def now() -> float:
    """The time."""
    raise NotImplementedError


# An operation has the parameters and the answer of the function that declares it.
takes_a_city: Callable[[Operation[[str], float]], None] = lambda known: None  # noqa: E731
any_operation: AnyOperation = forecast
assert_type(now, Operation[[], float])
assert_type(forecast.name, str)
takes_a_city(now)  # type: ignore[arg-type]


async def program() -> None:
    async with Argo.open({"argo": {"tenant": "acme"}}, clock=FakeClock()) as argo:
        assert_type(argo, Argo)
        assert_type(await argo.call("forecast", city="Oslo"), object)
        assert_type(await argo.call(forecast, city="Oslo"), Sequence[float])
        assert_type(await argo.call(forecast, "Oslo", days=2), Sequence[float])
        assert_type(await argo.call(now), float)
        await argo.call(forecast, town="Oslo")  # type: ignore[call-overload]
        await argo.call(now, "Oslo")  # type: ignore[call-overload]
        assert_type(await argo.options(timeout=1.0).call(now), float)
        assert_type(await argo.outcome(forecast, "Oslo"), Outcome)
        assert_type(await argo.map(forecast, ["Oslo"], days=5), dict[str, Outcome | Exception])
        assert_type(await argo.outcome("forecast", city="Oslo"), Outcome)
        assert_type(await argo.map("forecast", ["Oslo"], days=5), dict[str, Outcome | Exception])
        assert_type(argo.options(timeout=1.0, max_age=5.0), Caller)
        assert_type(argo.explain("forecast", city="Oslo"), list[Explained])

        @argo.wrap(data_type="weather", subject="city")
        async def wind(city: str, days: int = 1) -> float:
            return 0.0

        assert_type(await wind("Oslo", days=2), float)


def script() -> None:
    with BlockingArgo() as argo:
        assert_type(argo.outcome("forecast", city="Oslo"), Outcome)
        assert_type(argo.call(forecast, "Oslo"), Sequence[float])
        assert_type(argo.call("forecast", city="Oslo"), object)


def values(call: Call, outcome: Outcome) -> None:
    assert_type(call.evolve(refresh=True), Call)
    assert_type(call.missed, tuple[str, ...])
    assert_type(call.max_age, float | None)
    assert_type(call.label, str)
    assert_type(outcome.evolve(expires_at=1.0), Outcome)


class Trace:
    """A middleware as people write them, with every method that there is."""

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        outcome = await call_next(call)
        return outcome.shaped_by("trace", f"{call.subject} passed")

    def find(self, call: Call) -> Found:
        return self._look(call) if call.max_age is None else None

    async def _look(self, call: Call) -> Outcome | None:
        return Outcome(call.subject)

    def may_find(self, call: Call) -> bool:
        return not call.refresh

    def stand_in(self, call: Call) -> Outcome | None:
        return None

    def explain(self, call: Call) -> str:
        return f"would trace {call.label}"

    async def shadow(self, call: Call, outcome: Outcome) -> None: ...

    async def open(self) -> None: ...

    def take_over(self, previous: Middleware) -> None: ...

    async def close(self) -> None: ...


async def log_calls(call: Call, call_next: Next) -> Outcome:
    return await call_next(call)


middleware: Middleware = Trace()
function: Middleware = log_calls
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


class Config:
    """A plugin's configuration."""


class Plugin:
    """A plugin as people write them."""

    @hookimpl
    def register_data_types(self) -> Iterable[str]:
        return ["weather"]

    @hookimpl
    def register_operations(self) -> Iterable[AnyOperation]:
        return [forecast, now]

    @hookimpl
    def register_layers(self, config: Config, context: Context) -> Iterable[Layer]:
        return [
            Layer("trace", middleware, after=("cache",), transparent=True),
            Layer("trace.inner", log_calls, after=("race",)),
        ]

    @hookimpl
    def register_upstreams(self, context: Context) -> Iterable[Upstream]:
        batching = Batching(fetch_many, max_size=10)
        return [Upstream("x", {"forecast"}, fetch, batching=batching, limits=Limits(per_day=25))]


async def plugins_use(context: Context, call: Call) -> None:
    assert_type(await context.call(call, "forecast", city="Oslo"), Outcome)
    assert_type(context.operation("forecast"), AnyOperation)
    assert_type(context.make_call("forecast", "acme", {"city": "Oslo"}), Call)
    assert_type(context.upstreams(call), Sequence[Upstream])
    assert_type(context.flag("x.part", call), Decision)
    assert_type(context.tag_versions, TagVersions)
    assert_type(await context.tag_versions.load(["subject:Oslo"]), TagSnapshot)
    assert_type(context.codecs, Codecs)
    context.announce("trace", "hit", call, "from memory")
    context.warn_once("plugin trace", "it is slow")


@with_argo
async def command(argo: Argo, city: str) -> None:
    assert_type(context_of(argo), Context)
    assert_type(plugin_of(argo, Plugin), Plugin)
    assert_type(config_of(argo, Config), Config)
    assert_type(layers_of(argo), Sequence[Layer])
    assert_type(collect(argo, "register_gauges"), dict[str, object])
    assert_type(observe(argo, hear), Callable[[], None])
    assert_type(suggest("forcast", ["forecast"]), str)


def hear(event: Event) -> None: ...


class TestTrace(LayerConformance):
    """A suite as people write them."""

    name = "trace"
    plugin = Plugin
    operation = forecast


fake = FakePlugin(operations=[forecast], upstreams=[Scripted("a", ["forecast"], max_batch=2)])
settings: Mapping[str, object] = {"upstreams": {"x": {"max_batch": 1}}}
