"""Callers leave a flight because they are cancelled or because their time is up.

The last one that is cancelled ends the request. One whose time is up leaves it to the application,
which completes it within the operation's timeout.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_mw import Argo, ArgoError, DeadlineExceeded, Outcome
from argo_mw.app.application import engine_of
from argo_mw.plugin import ENDS_WITH_CALLERS, Call, Layer, Next, context_of, layers_of, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted, settle
from argo_mw_coalesce import plugin

TIMEOUT = 10.0
UNLIMITED = 1_000.0

_names = itertools.count()


@operation(timeout=TIMEOUT, subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


@pytest.fixture(params=["alone", "distributed"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def held() -> Scripted:
    upstream = Scripted("a", ["bars"], retries=0, timeout=UNLIMITED)
    upstream.gate.clear()
    return upstream


def open_argo(
    store: str, upstream: Scripted, clock: FakeClock, also: dict[str, object] | None = None
) -> Argo:
    # Each in a store of its own: time begins anew, and results of before would seem to be recent.
    shared = "memory://" if store == "alone" else f"memory://leaving-{next(_names)}"
    config = {
        "argo": {"shared": shared, "strict": True},
        "plugins": {"coalesce": {"failure_ttl": 0.0}},
    }
    asked = FakePlugin(operations=[bars], upstreams=[upstream])
    plugins = {"coalesce": plugin, "asked": asked, **(also or {})}
    return Argo.open(config, clock=clock, plugins=plugins, installed=False)


def ask(argo: Argo, seconds: float | None = None, **more: object) -> asyncio.Task[object]:
    return asyncio.create_task(
        argo.options(timeout=seconds, **more).call("bars", symbol="AAPL")  # type: ignore[arg-type]
    )


async def test_a_load_whose_last_caller_timed_out_answers_callers_who_come_before_its_end(
    store: str,
) -> None:
    clock, upstream = FakeClock(start=0.1), held()
    async with open_argo(store, upstream, clock) as argo:
        hasty = [ask(argo, 1.0), ask(argo, 2.0)]
        await clock.advance(3.0)
        assert all(isinstance(one.exception(), DeadlineExceeded) for one in hasty)
        late = ask(argo)
        await settle()
        upstream.gate.set()
        assert "AAPL" == await late
    assert (1, 0) == (len(upstream.asked), upstream.cancelled)


async def test_a_load_without_callers_ends_at_the_timeout_of_the_operation(store: str) -> None:
    clock, upstream = FakeClock(start=0.1), held()
    async with open_argo(store, upstream, clock) as argo:
        idle = set(engine_of(argo).tasks.names)
        hasty = ask(argo, 1.0)
        await clock.advance(TIMEOUT - 0.1)
        assert hasty.done()
        assert 0 == upstream.cancelled
        await clock.advance(0.2)
        assert 1 == upstream.cancelled
        await settle()
        assert set(engine_of(argo).tasks.names) - idle <= {"argo-mw:coalesce:subscribe"}


async def test_a_load_without_callers_ends_with_the_application(store: str) -> None:
    clock, upstream = FakeClock(start=0.1), held()
    async with open_argo(store, upstream, clock) as argo:
        ask(argo, 1.0)
        await clock.advance(2.0)
    assert 1 == upstream.cancelled


class Closes:
    """A layer that notes how many requests have been cancelled when it is closed."""

    def __init__(self, upstream: Scripted) -> None:
        self.upstream = upstream
        self.cancelled: list[int] = []

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        return await call_next(call)

    async def close(self) -> None:
        self.cancelled.append(self.upstream.cancelled)


async def test_a_load_ends_before_the_layers_that_it_passes_are_closed(store: str) -> None:
    clock, upstream = FakeClock(start=0.1), held()
    closes = Closes(upstream)
    also = {"closes": FakePlugin(layer=Layer("closes", closes, after=("coalesce",)))}
    async with open_argo(store, upstream, clock, also) as argo:
        ask(argo, 1.0)
        await clock.advance(2.0)
    assert [1] == closes.cancelled


@pytest.mark.parametrize(("seconds", "lasts"), [(None, TIMEOUT), (4.0, TIMEOUT), (25.0, 25.0)])
async def test_a_flight_lasts_as_long_as_the_operation_or_who_starts_it_allows(
    store: str, seconds: float | None, lasts: float
) -> None:
    clock, passed = FakeClock(start=7.0), []
    async with open_argo(store, held(), clock) as argo:
        coalesce, context = layers_of(argo)[0].middleware, context_of(argo)
        call = context.make_call("bars", "", {"symbol": "AAPL"})

        async def call_next(passing: Call) -> Outcome:
            passed.append(passing.deadline)
            return Outcome(1)

        await coalesce(call if seconds is None else call.until(7.0 + seconds), call_next)
    assert [7.0 + lasts] == passed


async def test_a_client_that_ends_its_requests_itself_ends_them_by_its_timeout_too(
    store: str,
) -> None:
    """But not while another caller waits."""
    clock, upstream = FakeClock(start=0.1), held()
    own = {"extensions": {ENDS_WITH_CALLERS: True}}
    async with open_argo(store, upstream, clock) as argo:
        tasks = [ask(argo, 1.0, **own), ask(argo, 2.0, **own)]
        await clock.advance(1.5)
        assert [True, False] == [task.done() for task in tasks]
        assert 0 == upstream.cancelled
        await clock.advance(1.0)
        assert 1 == upstream.cancelled


@pytest.mark.parametrize("last", ["cancelled", "timed out"])
async def test_at_whatever_turn_the_last_caller_leaves_its_requests_are_ended_or_kept(
    store: str, last: str
) -> None:
    """Cancelled, it ends the request; timed out, it leaves the answer to the next caller."""
    for turns in range(40):
        clock, upstream = FakeClock(start=0.1), held()
        async with open_argo(store, upstream, clock) as argo:
            caller = ask(argo, 1.0)
            for _ in range(turns):
                await asyncio.sleep(0)
            if last == "cancelled":
                caller.cancel()
                await settle()
                assert len(upstream.asked) == upstream.cancelled
            else:
                await clock.advance(1.0)
                assert isinstance(caller.exception(), DeadlineExceeded)
                assert (1, 0) == (len(upstream.asked), upstream.cancelled)
            again = ask(argo)
            await settle()
            upstream.gate.set()
            assert "AAPL" == await again


class Model:
    """What must become of one load and its callers.

    Attributes:
        waiting: The seconds at which the time of each waiting caller is up, by its number.
        ends: When the load ends at the latest, or ``None`` while there is none.
        cancelled: How many requests were cancelled.
    """

    def __init__(self) -> None:
        self.waiting: dict[int, float] = {}
        self.ends: float | None = None
        self.asked = self.cancelled = 0

    def ask(self, number: int, now: float, seconds: float) -> None:
        self.waiting[number] = now + seconds
        if self.ends is None:
            self.asked += 1
            self.ends = now + max(TIMEOUT, seconds)

    def leave(self, number: int) -> None:
        if self.waiting.pop(number, None) is not None and not self.waiting:
            self._end()

    def pass_to(self, now: float) -> Iterator[int]:
        """Yield the callers whose time is up at *now*."""
        late = [number for number, until in self.waiting.items() if until <= now]
        for number in late:
            del self.waiting[number]
        yield from late
        if self.ends is not None and self.ends <= now:
            self._end()
            yield from self.waiting
            self.waiting.clear()

    def _end(self) -> None:
        self.cancelled += 1
        self.ends = None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from([0.5, 1.5, 4.0, 20.0])),
        st.tuples(st.just("cancel"), st.integers(0, 10)),
        st.tuples(st.just("wait"), st.sampled_from([0.25, 1.0, 3.0, 9.0])),
    ),
    max_size=25,
)


@given(STEPS)
@settings(deadline=None)
def test_the_request_ends_only_when_the_last_caller_is_cancelled(
    steps: list[tuple[str, float]],
) -> None:
    asyncio.run(drive(steps))


async def drive(steps: list[tuple[str, float]]) -> None:
    clock, upstream, model = FakeClock(start=0.1), held(), Model()
    async with open_argo("alone", upstream, clock) as argo:
        callers: list[asyncio.Task[object]] = []
        for step, number in steps:
            match step:
                case "ask":
                    model.ask(len(callers), clock.monotonic(), number)
                    callers.append(ask(argo, number))
                case "cancel" if callers:
                    place = int(number) % len(callers)
                    model.leave(place)
                    callers[place].cancel()
                case "wait":
                    await clock.advance(number)
                    for late in model.pass_to(clock.monotonic()):
                        assert isinstance(callers[late].exception(), DeadlineExceeded)
            await settle()
            assert (model.asked, model.cancelled) == (len(upstream.asked), upstream.cancelled)
            assert sorted(model.waiting) == [n for n, c in enumerate(callers) if not c.done()]
        upstream.gate.set()
        answers = await asyncio.gather(*callers, return_exceptions=True)
        assert {"AAPL"} >= {answers[number] for number in model.waiting}
        assert all(isinstance(a, str | ArgoError | asyncio.CancelledError) for a in answers)


async def test_loads_of_two_flights_restart_where_the_one_that_carries_it_out_is_cancelled(
    store: str,
) -> None:
    """At every turn: the other flight is answered, and no request stays behind."""
    for turns in range(30):
        clock, upstream = FakeClock(start=0.1), held()
        async with open_argo(store, upstream, clock) as argo:
            first = ask(argo)
            for _ in range(turns):
                await asyncio.sleep(0)
            others = [ask(argo, max_age=age) for age in (50.0, 60.0)]
            for _ in range(turns % 7):
                await asyncio.sleep(0)
            first.cancel()
            await settle()
            upstream.gate.set()
            await clock.advance(5.0)
            assert ["AAPL", "AAPL"] == [await other for other in others]
            assert upstream.cancelled in (0, 1)
            assert 1 == len(upstream.asked) - upstream.cancelled


def test_the_layer_of_loads_is_the_plugins_own() -> None:
    """It is switched by the plugin's flag, and stands inside the caches."""

    async def names() -> list[str]:
        async with open_argo("alone", held(), FakeClock(start=0.1)) as argo:
            return [layer.name for layer in layers_of(argo)]

    assert ["coalesce", "coalesce.loads"] == asyncio.run(names())
