"""What requests cost: one event for each request that was sent, one table that keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from attrs import astuple, evolve
from structlog.testing import capture_logs

from argo_mw import ArgoError, BudgetExceeded
from argo_mw.app.application import engine_of
from argo_mw.cli.costs import add_up
from argo_mw.plugin import (
    Action,
    Charge,
    Closed,
    Cost,
    CostTotals,
    Outcome,
    RequestSettled,
    Stream,
    UpstreamError,
    context_of,
    hookimpl,
    observe,
    observes,
)
from argo_mw.testing import Scripted
from tests.core.conftest import bars

SPENT = Cost(0.25, 100, 20, 1.0)


class Table:
    """A table in memory, and the plugin that brings it."""

    def __init__(self, *, stand_in: bool = False, name: str = "") -> None:
        self.stand_in = stand_in
        self.charges: list[Charge] = []
        self.full = False
        self.name = name

    @hookimpl
    def register_cost_table(self) -> Table:
        return self

    def record(self, charge: Charge) -> None:
        if self.full:
            msg = "full"
            raise Closed(msg)
        self.charges.append(charge)

    async def totals(self, since: float) -> list[CostTotals]:
        return [
            CostTotals(
                "2026-11-23", one.tenant, one.operation, one.subject, one.upstream, one.cost.model,
                one.layer, 1, 0, 0, 0, one.cost.requests, one.cost.tokens_in, 0,
                one.cost.tokens_out, one.cost.usd or 0.0, one.latency, 0.0, 0,
            )
            for one in self.charges
        ]  # fmt: skip

    async def identity(self) -> str:
        return self.name


def priced(*script: object, **more: object) -> Scripted:
    scripted = Scripted("a", ["bars"], *script, **more)
    scripted.upstream = evolve(scripted.upstream, price=0.1)
    return scripted


def settled_of(argo: object) -> list[RequestSettled]:
    events: list[RequestSettled] = []

    @observes(RequestSettled)
    def note(event: RequestSettled) -> None:
        events.append(event)

    observe(argo, note)
    return events


def parts(charge: Charge) -> tuple[object, ...]:
    return charge.subject, charge.status, charge.cost.usd, charge.cost.requests


async def test_a_request_is_settled_once_with_what_its_call_cost(open_argo, clock) -> None:
    async with open_argo(priced(Outcome("x", cost=SPENT))) as argo:
        events = settled_of(argo)
        await argo.options(tenant="acme").call("bars", symbol="AAPL")
        [event] = events
        assert ("a", True) == (event.upstream, event.priced)
        expected = Charge(clock.time(), "acme", "bars", "AAPL", "a", "ok", SPENT)
        assert (expected,) == event.charges


async def test_every_try_is_a_request_of_its_own(open_argo, clock) -> None:
    again = UpstreamError("again", upstream="a", action=Action.RETRY, retry_after=0.0)
    async with open_argo(priced(again, Outcome("x", cost=SPENT))) as argo:
        events = settled_of(argo)
        await argo.call("bars", symbol="AAPL")
    assert [("AAPL", "failed", None, 1.0), ("AAPL", "ok", 0.25, 1.0)] == [
        parts(charge) for event in events for charge in event.charges
    ]


async def test_the_request_of_a_cancelled_call_is_settled_too(open_argo) -> None:
    upstream = priced()
    upstream.gate.clear()
    async with open_argo(upstream) as argo:
        events = settled_of(argo)
        asking = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await upstream.arrived.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert [("AAPL", "cancelled", None, 1.0)] == [parts(c) for c in events[0].charges]


async def test_it_is_settled_though_a_guard_fails_or_its_caller_leaves_meanwhile(open_argo) -> None:
    waiting, leave = asyncio.Event(), asyncio.Event()

    class Slow:
        name = "slow"

        async def reserve(self, request: object) -> None: ...

        async def release(self, request: object) -> None: ...

        async def settle(self, request: object, result: object) -> None:
            waiting.set()
            await leave.wait()
            msg = "bug"
            raise KeyError(msg)

    async with open_argo(priced(Outcome("x", cost=SPENT)), guards=lambda _: [Slow()]) as argo:
        events = settled_of(argo)
        asking = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await waiting.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert 1 == len(events)
        leave.set()
        with pytest.raises(KeyError):
            await argo.call("bars", symbol="IBM")
        assert 2 == len(events)


async def test_calls_of_one_batch_share_its_request(open_argo, clock) -> None:
    async with open_argo(priced(max_batch=2)) as argo:
        events = settled_of(argo)
        await asyncio.gather(*(argo.call("bars", symbol=s) for s in ("AAPL", "IBM")))
        [event] = events
        assert [("AAPL", "ok", 0.0, 0.5), ("IBM", "ok", 0.0, 0.5)] == [
            parts(charge) for charge in event.charges
        ]


async def test_further_pages_are_requests_of_the_same_charge(open_argo) -> None:
    async def paged(call: object) -> Outcome:
        await context.charge_extra(call)
        return Outcome("x")

    upstream = priced()
    upstream.upstream = evolve(upstream.upstream, fetch=paged)
    async with open_argo(upstream) as argo:
        context = context_of(argo)
        events = settled_of(argo)
        await argo.call("bars", symbol="AAPL")
        assert [("AAPL", "ok", 0.0, 2.0)] == [parts(c) for c in events[0].charges]


async def test_a_refused_request_was_never_sent_and_costs_nothing(open_argo) -> None:
    class Strict:
        name = "strict"

        async def reserve(self, request: object) -> None:
            msg = "no"
            raise BudgetExceeded(msg)

    async with open_argo(priced(), guards=lambda _: [Strict()]) as argo:
        events = settled_of(argo)
        with pytest.raises(ArgoError):
            await argo.call("bars", symbol="AAPL")
        assert [] == events


async def test_an_upstream_says_what_a_failure_cost(open_argo) -> None:
    asked: list[tuple[str, str]] = []

    def failure_cost(call: object, error: BaseException) -> Cost:
        asked.append((call.subject, str(error)))
        if call.subject == "IBM":
            raise KeyError(call.subject)
        return Cost(0.1, estimated=True)

    upstream = priced(RuntimeError("down"), retries=0)
    upstream.upstream = evolve(upstream.upstream, failure_cost=failure_cost)
    async with open_argo(upstream) as argo:
        events = settled_of(argo)
        for symbol in ("AAPL", "IBM"):
            with pytest.raises(ArgoError):
                await argo.call("bars", symbol=symbol)
    # A bug in it is an unknown cost, which is not nothing.
    assert [("AAPL", "failed", 0.1, 1.0), ("IBM", "failed", None, 1.0)] == [
        parts(charge) for event in events for charge in event.charges
    ]
    assert ("AAPL", "down") == asked[0]


@pytest.mark.parametrize("whole", [True, False])
async def test_a_streamed_request_is_settled_when_its_stream_has_ended(open_argo, whole) -> None:
    async def words():
        yield "a"
        await more.wait()
        yield "b"

    more = asyncio.Event()

    def answer(call: object) -> Outcome:
        stream = Stream(words(), engine_of(argo).tasks)
        stream.on_done(lambda ended: setattr(ended, "cost", SPENT))
        return Outcome(stream, cost=Cost(None, requests=1.0))

    async with open_argo(priced(answer)) as argo:
        events = settled_of(argo)
        stream = await argo.call("bars", symbol="AAPL")
        stream.on_done(lambda _: 1 / 0)  # what fails at the end of a stream loses no cost
        assert [] == events
        reader = stream.read()
        await anext(reader)
        if whole:
            more.set()
            assert ["b"] == [chunk async for chunk in reader]
        else:
            await reader.aclose()
        [event] = events
        assert [("AAPL", "ok" if whole else "aborted", 0.25, 1.0)] == [
            parts(charge) for charge in event.charges
        ]


async def test_nothing_is_worked_out_while_nothing_observes_it(open_argo) -> None:
    async with open_argo(priced(Outcome("x", cost=SPENT))) as argo:
        await argo.call("bars", symbol="AAPL")
        assert not engine_of(argo).costs.recorded
        assert RequestSettled not in context_of(argo).events.wanted


async def test_a_charge_is_kept_by_one_table(open_argo) -> None:
    first, second = Table(), Table(stand_in=True)
    plugins = {"a_stand_in": second, "b_table": first}
    async with open_argo(priced(Outcome("x", cost=SPENT)), plugins=plugins) as argo:
        await argo.call("bars", symbol="AAPL")
        assert ([("AAPL", "ok", 0.25, 1.0)], []) == (
            [parts(c) for c in first.charges],
            second.charges,
        )
        first.full = True
        await argo.call("bars", symbol="IBM")
        assert ["IBM"] == [charge.subject for charge in second.charges]
        found = await engine_of(argo).costs.totals(0.0)
        assert {"AAPL", "IBM"} == {one.subject for one in found}


async def test_a_charge_that_no_table_takes_is_logged_and_the_next_is_recorded(open_argo) -> None:
    table = Table()
    table.full = True
    async with open_argo(priced(Outcome("x", cost=SPENT)), plugins={"table": table}) as argo:
        with capture_logs() as log:
            await argo.call("bars", symbol="AAPL")
        assert ["AAPL"] == [line["charge"].subject for line in log if "charge" in line]
        table.full = False
        await argo.call("bars", symbol="IBM")
        assert ["IBM"] == [charge.subject for charge in table.charges]


async def test_requests_that_cost_nothing_are_settled_and_not_recorded(open_argo) -> None:
    table = Table()
    async with open_argo(Scripted("a", ["bars"]), plugins={"table": table}) as argo:
        events = settled_of(argo)
        await argo.call("bars", symbol="AAPL")
        assert [("AAPL", "ok", 0.0, 1.0)] == [parts(c) for c in events[0].charges]
        assert [] == table.charges


async def test_what_costs_nothing_is_worked_out_only_for_an_observer_other_than_the_recorder(
    open_argo,
) -> None:
    async with open_argo(Scripted("a", ["bars"]), plugins={"table": Table()}) as argo:
        events = context_of(argo).events
        assert (True, False) == (RequestSettled in events.wanted, events.unpriced)
        await argo.call("bars", symbol="AAPL")
        seen = settled_of(argo)
        assert events.unpriced
        await argo.call("bars", symbol="IBM")
        assert ["IBM"] == [charge.subject for event in seen for charge in event.charges]


async def test_a_layer_s_savings_go_into_the_same_table(open_argo) -> None:
    table = Table()
    async with open_argo(priced(), plugins={"table": table}) as argo:
        saved = Charge(1.0, "t", "bars", "AAPL", "a", "saved", SPENT, layer="cache")
        context_of(argo).record_charge(saved)
        assert [saved] == table.charges


async def test_totals_of_other_machines_are_found_in_the_store_and_counted_once(
    open_argo, tmp_path
) -> None:
    config: Mapping[str, object] = {
        "argo": {"shared": f"sqlite:///{tmp_path}/shared.db", "strict": True}
    }

    def opened(table: Table):
        return open_argo(
            priced(Outcome("x", cost=SPENT)), plugins={"table": table}, config=config,
            operations=(bars,),
        )  # fmt: skip

    mine, other = Table(name="mine"), Table(name="other")
    for table in (other, mine):
        async with opened(table) as argo:
            await argo.call("bars", symbol="AAPL")
    async with opened(mine) as argo:
        costs = engine_of(argo).costs
        assert [0.25] == [one.usd for one in await costs.totals(0.0)]
        assert [0.25] == [one.usd for one in await costs.totals_elsewhere(0.0)]
    common = Table()
    async with opened(common) as argo:  # one that all machines write to is shared already
        await argo.call("bars", symbol="AAPL")
    async with opened(mine) as argo:
        assert [0.25] == [one.usd for one in await engine_of(argo).costs.totals_elsewhere(0.0)]


async def test_totals_that_another_version_has_written_are_left_out(open_argo, tmp_path) -> None:
    good = [
        "2026-11-23", "t", "bars", "AAPL", "a", "", "", 1, 0, 0, 0, 1.0, 5, 0, 5, 0.25, 0.1, 0.0, 0
    ]  # fmt: skip
    rows = [
        *(good, good[:-1], [*good, 1], [], "text", 5, None, {}),
        *(
            [*good[:place], odd, *good[place + 1 :]]
            for place in range(19)
            for odd in (None, [], -1)
        ),
        [*good[:15], float("nan"), *good[16:]],
    ]
    config: Mapping[str, object] = {"argo": {"shared": f"sqlite:///{tmp_path}/shared.db"}}
    async with open_argo(priced(), plugins={"table": Table(name="mine")}, config=config) as argo:
        key = "argo:costs:2026-11-23:other"
        context = context_of(argo)
        await context.shared.set(key, context.codecs.encode(rows, key))
        with capture_logs() as logs:
            found = await engine_of(argo).costs.totals_elsewhere(0.0)
    assert good == list(astuple(found[0]))
    assert 1 <= len(add_up(found, "model"))
    assert ["costs of another machine cannot be read: update both"] == [
        one["event"] for one in logs if "another machine" in one["event"]
    ]


@pytest.mark.parametrize(
    ("model", "kept"),
    [("glm-5.3", "glm-5.3"), ("\0\n\ud800", r"\x00\n\ud800"), ("x" * 10**6, "x" * 200), (5, "")],
)
async def test_no_name_of_a_model_keeps_a_cost_from_being_recorded(
    open_argo, model: Any, kept: str
) -> None:
    spent = evolve(SPENT, model=model)
    async with open_argo(priced(Outcome("x", cost=spent))) as argo:
        events = settled_of(argo)
        await argo.call("bars", symbol="A\0" + "B" * 999)
        [event] = events
        assert kept == event.charges[0].cost.model
        assert SPENT.usd == event.charges[0].cost.usd
        assert event.charges[0].subject.startswith(r"A\x00B")
        assert 200 == len(event.charges[0].subject)


@pytest.mark.parametrize("usd", [float("nan"), float("inf"), -3.0, 1e308])
async def test_a_cost_that_cannot_be_is_not_known_and_lowers_no_sum(open_argo, usd: float) -> None:
    impossible = Cost(usd, -5, -6, -1.0, tokens_cached=-7)
    async with open_argo(priced(Outcome("x", cost=impossible))) as argo:
        events = settled_of(argo)
        assert "x" == await argo.call("bars", symbol="AAPL")
        [event] = events
        assert Cost(None, 0, 0, 1.0) == event.charges[0].cost
