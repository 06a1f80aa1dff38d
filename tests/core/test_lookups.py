"""Lookups: answers that need a store, but no upstream and no way through the chain."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import attrs
import pytest

from argo_mw import DeadlineExceeded, Outcome, QuotaExceeded
from argo_mw.plugin import Call, CallEnded, Layer, LayerBypassed, Next
from argo_mw.testing import Scripted, capture_events, settle


async def through(call: Call, call_next: Next) -> Outcome:
    return await call_next(call)


class Store:
    """A layer that looks answers up; it writes down what it was asked, and how."""

    def __init__(self, *answers: object, name: str = "store") -> None:
        self.layer = Layer(name, self, slot="cache", lookup=self.lookup)
        self.asked: list[str] = []
        self._answers = list(answers)

    def lookup(self, call: Call) -> Coroutine[object, object, Outcome | None] | None:
        self.asked.append("lookup")
        return self.look()

    async def look(self) -> Outcome | None:
        await asyncio.sleep(0)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        self.asked.append("middleware")
        return await call_next(call)


async def test_an_answer_that_is_looked_up_enters_no_layer(open_argo) -> None:
    store, upstream = Store(Outcome("kept")), Scripted("a", ["bars"])
    async with open_argo(upstream, layers=(store.layer,)) as argo:
        events = capture_events(argo)
        assert "kept" == await argo.call("bars", symbol="AAPL")
    assert ["lookup"] == store.asked
    assert [] == upstream.asked
    assert ["kept"] == [e.outcome.value for e in events.of(CallEnded)]


async def test_what_is_not_found_goes_through_the_chain(open_argo) -> None:
    store = Store(None)
    async with open_argo(Scripted("a", ["bars"]), layers=(store.layer,)) as argo:
        assert "AAPL" == await argo.call("bars", symbol="AAPL")
    assert ["lookup", "middleware"] == store.asked


async def test_a_lookup_that_fails_by_its_own_fault_is_passed_by(open_argo) -> None:
    store = Store(ZeroDivisionError("a bug"))
    async with open_argo(Scripted("a", ["bars"]), layers=(store.layer,)) as argo:
        events = capture_events(argo)
        assert "AAPL" == await argo.call("bars", symbol="AAPL")
    assert ["lookup", "middleware"] == store.asked
    assert ["store"] == [event.layer for event in events.of(LayerBypassed)]


async def test_a_lookup_with_nothing_to_wait_for_costs_no_wait(open_argo) -> None:
    class Idle(Store):
        def lookup(self, call: Call) -> None:
            self.asked.append("lookup")

    store = Idle()
    async with open_argo(Scripted("a", ["bars"]), layers=(store.layer,)) as argo:
        assert "AAPL" == await argo.call("bars", symbol="AAPL")
    assert ["lookup", "middleware"] == store.asked


async def test_a_lookup_that_fails_before_it_waits_is_passed_by(open_argo) -> None:
    class BrokenPlugin(Store):
        def lookup(self, call: Call) -> None:
            raise ZeroDivisionError

    async with open_argo(Scripted("a", ["bars"]), layers=(BrokenPlugin().layer,)) as argo:
        assert "AAPL" == await argo.call("bars", symbol="AAPL")


async def test_what_a_lookup_raises_on_purpose_reaches_the_caller(open_argo) -> None:
    store = Store(QuotaExceeded("no"))
    async with open_argo(Scripted("a", ["bars"]), layers=(store.layer,)) as argo:
        with pytest.raises(QuotaExceeded):
            await argo.call("bars", symbol="AAPL")


async def test_a_deadline_holds_while_something_is_looked_up(open_argo, clock) -> None:
    class Stuck(Store):
        async def look(self) -> Outcome | None:
            return await asyncio.Event().wait()  # type: ignore[return-value]

    async with open_argo(Scripted("a", ["bars"]), layers=(Stuck().layer,)) as argo:
        asked = asyncio.create_task(argo.options(timeout=2.0).call("bars", symbol="AAPL"))
        await clock.advance(2.1)
        with pytest.raises(DeadlineExceeded, match="the caller's deadline"):
            await asked


@pytest.mark.parametrize(("takes", "timers"), [(1.0, 0), (3.0, 1)])
async def test_a_lookup_that_ends_in_time_by_itself_costs_its_caller_no_timer(
    open_argo, clock, takes: float, timers: int
) -> None:
    opened = asyncio.Event()

    class Gate(Store):
        async def look(self) -> Outcome | None:
            await opened.wait()
            return Outcome("kept")

    layer = attrs.evolve(Gate().layer, lookup_timeout=takes)
    async with open_argo(Scripted("a", ["bars"]), layers=(layer,)) as argo:
        before = clock.pending
        asked = asyncio.create_task(argo.options(timeout=2.0).call("bars", symbol="AAPL"))
        await settle()
        assert timers == clock.pending - before
        opened.set()
        assert "kept" == await asked


@pytest.mark.parametrize(("see_through", "looked"), [(True, ["lookup"]), (False, ["middleware"])])
async def test_a_lookup_passes_only_layers_that_can_be_seen_through(
    open_argo, see_through: bool, looked: list[str]
) -> None:
    store = Store(Outcome("kept"))
    outer = Layer("outer", through, slot="coalesce", peek_through=see_through)
    async with open_argo(Scripted("a", ["bars"]), layers=(store.layer, outer)) as argo:
        await argo.call("bars", symbol="AAPL")
    assert looked == store.asked


async def test_the_outer_of_two_lookups_comes_first(open_argo) -> None:
    first, second = Store(None, Outcome("first"), name="first"), Store(Outcome("second"))
    outer = Layer("first", first, before=("store",), lookup=first.lookup)
    async with open_argo(Scripted("a", ["bars"]), layers=(store_of(second), outer)) as argo:
        answers = [await argo.call("bars", symbol="AAPL") for _ in range(2)]
    assert ["second", "first"] == answers
    assert ["lookup"] == second.asked


def store_of(store: Store) -> Layer:
    return store.layer
