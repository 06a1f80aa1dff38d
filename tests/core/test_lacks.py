"""What a degraded answer had to do without: it is named, inherited, and soon tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from argo_mw import Argo, NotFound, Outcome, UpstreamError
from argo_mw.plugin import AnyOperation, Call, Context, Upstream, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted

DOWN = UpstreamError("529", upstream="model", status=529)


@operation(subject="symbol")
def quote(symbol: str) -> object:
    """A price."""


@operation(subject="symbol")
def opinion(symbol: str) -> object:
    """What a model thinks."""


@operation(kind="compute", scope="public", subject="symbol")
def advice(symbol: str) -> object:
    """Made of a price and an opinion, or of the price alone."""


@operation(kind="compute", scope="public", subject="symbol")
def plan(symbol: str) -> object:
    """Made of advice."""


Compute = Callable[[Context, Call], Awaitable[object]]


async def forgiving(context: Context, call: Call) -> object:
    price = await context.call(call, "quote", symbol=call.subject)
    try:
        thought = await context.call(call, "opinion", symbol=call.subject)
    except Exception:
        return (price.value, None)
    return (price.value, thought.value)


async def on_advice(context: Context, call: Call) -> object:
    return (await context.call(call, "advice", symbol=call.subject)).value


class Computed(FakePlugin):
    """A plugin whose operation is computed by a function of its context."""

    def __init__(self, computed: AnyOperation, compute: Compute) -> None:
        async def fetch(call: Call) -> Outcome:
            assert self.context is not None
            return Outcome(await compute(self.context, call))

        name = computed.name
        super().__init__(operations=[computed], upstreams=[Upstream(f"of-{name}", {name}, fetch)])


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def open_argo(
    clock: FakeClock, model: Scripted, compute: Compute = forgiving, **settings: object
) -> Argo:
    prices = Scripted("prices", ["quote"], 1.5)
    plugins = {
        "asked": FakePlugin(operations=[quote, opinion], upstreams=[prices, model]),
        "computed": Computed(advice, compute),
        "planned": Computed(plan, on_advice),
    }
    config = {"argo": {"shared": "memory://", "strict": True, **settings}}
    return Argo.open(config, clock=clock, plugins=plugins, installed=False)


def failing(*script: object) -> Scripted:
    return Scripted("model", ["opinion"], *(script or (DOWN,)), retries=0)


@pytest.mark.parametrize("asked", ["advice", "plan"])
async def test_an_answer_lacks_what_failed_on_its_way_and_so_does_what_is_made_of_it(
    clock: FakeClock, asked: str
) -> None:
    async with open_argo(clock, failing()) as argo:
        outcome = await argo.outcome(asked, symbol="A")
    assert (1.5, None) == outcome.value
    assert frozenset({"opinion"}) == outcome.lacks
    assert clock.time() + 60 == outcome.expires_at


async def test_a_whole_answer_lacks_nothing(clock: FakeClock) -> None:
    async with open_argo(clock, failing("up")) as argo:
        outcome = await argo.outcome("plan", symbol="A")
    assert (frozenset(), None) == (outcome.lacks, outcome.expires_at)


async def test_that_there_is_nothing_is_an_answer_and_not_lacking(clock: FakeClock) -> None:
    async with open_argo(clock, failing(NotFound("no opinion", upstream="model"))) as argo:
        outcome = await argo.outcome("advice", symbol="A")
    assert ((1.5, None), frozenset()) == (outcome.value, outcome.lacks)


async def test_what_is_not_waited_for_is_lacking(clock: FakeClock) -> None:
    async def hasty(context: Context, call: Call) -> object:
        thinking = asyncio.create_task(context.call(call, "opinion", symbol=call.subject))
        await model.arrived.wait()
        thinking.cancel()
        await asyncio.wait([thinking])
        return "without"

    model = failing("late")
    model.gate.clear()
    async with open_argo(clock, model, hasty) as argo:
        outcome = await argo.outcome("advice", symbol="A")
    assert frozenset({"opinion"}) == outcome.lacks


async def test_one_of_many_subjects_that_fails_is_lacking(clock: FakeClock) -> None:
    async def of_many(context: Context, call: Call) -> object:
        found = await context.map(call, "opinion", ["A", "B"])
        return sorted(symbol for symbol, one in found.items() if isinstance(one, Outcome))

    async with open_argo(clock, failing(DOWN, "up"), of_many) as argo:
        outcome = await argo.outcome("advice", symbol="A")
    assert (["B"], frozenset({"opinion"})) == (outcome.value, outcome.lacks)


async def test_an_upstream_may_say_itself_what_its_answer_lacks(clock: FakeClock) -> None:
    half = Outcome("half", lacks=frozenset({"page 2"}), expires_at=clock.time() + 3600)
    async with open_argo(clock, failing(half), lacking_ttl=5) as argo:
        outcome = await argo.outcome("opinion", symbol="A")
        made = await argo.outcome("advice", symbol="A")
    assert (frozenset({"page 2"}), clock.time() + 5) == (outcome.lacks, outcome.expires_at)
    assert (frozenset({"page 2"}), clock.time() + 5) == (made.lacks, made.expires_at)


async def test_an_answer_that_would_have_lived_shorter_still_does(clock: FakeClock) -> None:
    half = Outcome("half", lacks=frozenset({"page 2"}), expires_at=clock.time() + 1)
    async with open_argo(clock, failing(half)) as argo:
        assert clock.time() + 1 == (await argo.outcome("opinion", symbol="A")).expires_at


async def test_how_long_it_lives_follows_the_configuration(clock: FakeClock) -> None:
    async with open_argo(clock, failing(), lacking_ttl=5) as argo:
        assert clock.time() + 5 == (await argo.outcome("advice", symbol="A")).expires_at
        await argo.reload({"argo": {"shared": "memory://", "strict": True, "lacking_ttl": 7}})
        assert clock.time() + 7 == (await argo.outcome("advice", symbol="A")).expires_at
