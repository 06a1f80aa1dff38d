"""Asking about many subjects: as they come, an error for each, and whatever workers do meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

import pytest

from argo_mw import Outcome, UnknownOperation, UpstreamError
from argo_mw.plugin import (
    Action,
    AllUpstreamsFailed,
    AllUpstreamsRefused,
    ArgoError,
    BadParameter,
    BudgetExceeded,
    LayerUnavailable,
    NotEncodable,
    NotFound,
    PluginError,
    QuotaExceeded,
    ScopeConflict,
    SharedUnavailable,
    Upstream,
    operation,
)
from argo_mw.testing import FakeClock, FakePlugin, Scripted
from argo_mw_fleet import (
    FleetError,
    FleetUnavailable,
    RemoteError,
    WorkerLost,
    answering,
    messages,
    place,
)
from argo_mw_fleet.answering import ABANDONED
from argo_mw_fleet.error_fields import error_fields, error_from

from .conftest import OpenWorkers, until


@operation(subject="symbol")
def price(symbol: str, *, days: int = 1) -> object: ...


@operation()
def whole() -> object: ...


SYMBOLS = [f"S{number}" for number in range(40)]


def quoting(name: str) -> FakePlugin:
    def answer(call) -> object:
        if call.subject == "BAD":
            return NotFound("there is no BAD", upstream="toys")
        if call.subject == "ODD":
            return object()
        return {"who": name, "tenant": call.tenant, "days": call.parameters["days"]}

    upstream = Scripted("toys", ["price"], answer)
    return FakePlugin(operations=[price, whole], upstreams=[upstream])


class Gate:
    """An upstream that answers when it is let, and knows what was asked and what was cancelled."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.open_for: dict[str, asyncio.Event] = {}

    def plugin(self, name: str) -> FakePlugin:
        async def answer(call) -> object:
            self.begun.append(call.subject)
            try:
                await self.open_for.setdefault(call.subject, asyncio.Event()).wait()
            except asyncio.CancelledError:
                self.cancelled.append(call.subject)
                raise
            return Outcome(name)

        upstream = Upstream("gate", frozenset({"price"}), answer, timeout=300.0)
        return FakePlugin(operations=[price, whole], upstreams=[upstream])


async def test_each_subject_is_answered_by_its_worker(workers: OpenWorkers) -> None:
    async with workers("a", "b", "c", plugin=quoting) as (fleet, _):
        found: dict[str, Any] = await fleet.map("price", SYMBOLS, days=7)
    placed = place(tuple(SYMBOLS), ("a", "b", "c"))
    assert SYMBOLS == list(found)
    assert {s: found[s].value["who"] for share in placed.values() for s in share} == {
        s: worker for worker, share in placed.items() for s in share
    }
    assert {7} == {one.value["days"] for one in found.values()}


async def test_the_callers_tenant_asks_unless_another_is_named(workers: OpenWorkers) -> None:
    async with workers("a", plugin=quoting) as (fleet, _):
        found: Any = await fleet.map(price, ["X"])
        other: Any = await fleet.options(tenant="second").map(price, ["X"])
    assert "caller" == found["X"].value["tenant"]
    assert "second" == other["X"].value["tenant"]


async def test_options_follow_one_another_as_those_of_an_application(workers: OpenWorkers) -> None:
    async with workers("a", plugin=quoting) as (fleet, _):
        second = fleet.options(tenant="second", refresh=True)
        found: Any = await second.options(tenant=None, read=True, timeout=5.0).map("price", ["X"])
    assert "second" == found["X"].value["tenant"]


@operation(subject="symbol", scope="tenant")
def held(symbol: str) -> object: ...


@operation(subject="symbol", scope="tenant")
def best(symbol: str) -> object: ...


@operation(subject="symbol")
def shared(symbol: str) -> object: ...


async def test_an_upstream_asks_the_fleet_for_the_tenant_that_it_answers(
    workers: OpenWorkers,
) -> None:
    opened: list[Any] = []

    def plugin(name: str) -> FakePlugin:
        async def ask(call) -> object:
            found = await opened[0].map("held", ["X"])
            return Outcome(found["X"].value["tenant"])

        return FakePlugin(
            operations=[held, best, shared],
            upstreams=[
                Scripted("toys", ["held"], lambda call: {"tenant": call.tenant}),
                Upstream("picks", frozenset({"best", "shared"}), ask),
            ],
        )

    async with workers("a", plugin=plugin) as (fleet, engine):
        opened.append(fleet)
        caller = engine.caller
        assert "guest" == await caller.options(tenant="guest").call("best", symbol="Y")
        opened[0] = fleet.options(tenant="named")
        assert "named" == await caller.options(tenant="guest").call("best", symbol="Z")
        with pytest.raises(ScopeConflict):
            await caller.call("shared", symbol="Y")


async def test_a_subject_that_fails_has_its_error_and_the_others_their_answers(workers) -> None:
    async with workers("a", "b", plugin=quoting) as (fleet, _):
        found = await fleet.map("price", ["GOOD", "BAD", "ODD", "GOOD"])
    assert ["GOOD", "BAD", "ODD"] == list(found)
    assert isinstance(found["GOOD"], Outcome)
    assert isinstance(found["BAD"], NotFound)
    assert "toys" == found["BAD"].upstream
    assert isinstance(found["ODD"], NotEncodable)


async def test_a_subject_that_cannot_be_sent_is_an_error_of_its_own(workers: OpenWorkers) -> None:
    async with workers("a", plugin=quoting) as (fleet, _):
        found = await fleet.map("price", ["GOOD", "HALF\ud800", "GÜT"])
    assert [Outcome, NotEncodable, Outcome] == [type(one) for one in found.values()]


async def test_how_far_it_is_counts_what_was_taken(workers: OpenWorkers) -> None:
    async with workers("a", plugin=quoting) as (fleet, _), fleet.each("price", SYMBOLS) as answers:
        counted = [answers.done async for _ in answers]
    assert list(range(1, len(SYMBOLS) + 1)) == counted


async def test_answers_come_while_others_are_awaited(workers: OpenWorkers) -> None:
    gate = Gate()
    async with workers("a", "b", plugin=gate.plugin) as (fleet, _):
        async with fleet.each("price", ["FAST", "SLOW"]) as answers:
            await until(lambda: len(gate.begun) == 2)
            gate.open_for["FAST"].set()
            assert "FAST" == (await anext(answers))[0]
            assert (1, 2) == (answers.done, answers.total)
            gate.open_for["SLOW"].set()
            assert "SLOW" == (await anext(answers))[0]
            assert [] == [one async for one in answers]
            assert [] == [one async for one in answers]


async def test_a_caller_that_leaves_ends_what_it_asked(workers: OpenWorkers) -> None:
    gate = Gate()
    async with workers("a", "b", plugin=gate.plugin) as (fleet, engine):
        async with fleet.each("price", SYMBOLS):
            await until(lambda: len(gate.begun) == len(SYMBOLS))
        assert sorted(SYMBOLS) == sorted(gate.cancelled)
        assert [0, 0] == [one.rounds for one in engine.answering.values()]


async def test_a_cancelled_caller_ends_what_it_asked(workers: OpenWorkers) -> None:
    gate = Gate()
    async with workers("a", "b", plugin=gate.plugin) as (fleet, engine):
        asking = asyncio.create_task(fleet.map("price", SYMBOLS))
        await until(lambda: len(gate.begun) == len(SYMBOLS))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert sorted(SYMBOLS) == sorted(gate.cancelled)
        assert [0, 0] == [one.rounds for one in engine.answering.values()]


async def test_a_round_whose_caller_died_is_ended(workers: OpenWorkers) -> None:
    clock, gate = FakeClock(), Gate()
    async with workers("a", plugin=gate.plugin, clock=clock) as (fleet, engine):
        asking = asyncio.create_task(fleet.map("price", ["X"]))
        await clock.advance(0.5)
        assert ["X"] == gate.begun
        worker = engine.answering.pop("a")  # it hears nothing any more
        await clock.advance(ABANDONED)
        assert 1 == worker.rounds
        await clock.advance(2.0)
        assert (0, ["X"]) == (worker.rounds, gate.cancelled)
        with pytest.raises(FleetUnavailable):
            await asking


async def test_a_round_that_is_asked_for_again_and_again_lives_on(workers: OpenWorkers) -> None:
    clock, gate = FakeClock(), Gate()
    async with workers("a", plugin=gate.plugin, clock=clock) as (fleet, _):
        asking = asyncio.create_task(fleet.options(timeout=200.0).map("price", ["X"]))
        for _ in range(60):
            await clock.advance(1.0)
        gate.open_for["X"].set()
        await clock.advance(1.0)
        found: Any = await asking
    assert "a" == found["X"].value


async def test_what_a_lost_worker_left_open_is_asked_at_others_and_nothing_twice(workers) -> None:
    gate = Gate()
    async with workers("a", "b", "c", plugin=gate.plugin) as (fleet, engine):
        lost = place(tuple(SYMBOLS), ("a", "b", "c"))["b"]
        gate.open_for.update({symbol: asyncio.Event() for symbol in SYMBOLS})
        for symbol in (*lost[:3], *(s for s in SYMBOLS if s not in lost)):
            gate.open_for[symbol].set()
        engine.lose = lambda worker, number: worker == "b" and number == 3
        seen: Counter[str] = Counter()
        async with fleet.each("price", SYMBOLS) as answers:
            async for symbol, answer in answers:
                assert isinstance(answer, Outcome)
                seen[symbol] += 1
                if "b" not in engine.answering:
                    assert answer.value != "b" or symbol in lost[:3]
                if seen.total() == len(SYMBOLS) - len(lost) + 3:
                    await until(lambda: "b" not in engine.answering)
                    for symbol_left in lost:
                        gate.open_for[symbol_left].set()
    assert dict.fromkeys(SYMBOLS, 1) == dict(seen)


async def test_a_subject_that_kills_every_worker_is_given_up_alone(workers: OpenWorkers) -> None:
    async with workers("a", "b", "c", "d", "e", plugin=quoting) as (fleet, engine):
        engine.lose = lambda worker, number: True
        found = await fleet.map("price", ["DEADLY"])
    assert isinstance(found["DEADLY"], WorkerLost)
    assert "3 workers were lost" in str(found["DEADLY"])
    assert 2 == len(engine.answering)


async def test_a_worker_that_hangs_is_not_asked_again_while_there_are_others(workers) -> None:
    async with workers("a", "b", plugin=quoting) as (fleet, engine):
        run, asked = engine.run, []

        async def hanging(worker: str, request: bytes) -> bytes:
            asked.append(worker)
            if worker == "a":
                msg = "worker a has not answered for 30 s"
                raise WorkerLost(msg)
            return await run(worker, request)

        engine.run = hanging
        found = await fleet.map("price", SYMBOLS)
        assert {Outcome} == {type(one) for one in found.values()}
        assert 1 == asked.count("a")
        del engine.answering["b"]
        assert {WorkerLost} == {type(one) for one in (await fleet.map("price", ["X"])).values()}


async def test_a_worker_that_was_started_anew_is_asked_anew(workers: OpenWorkers) -> None:
    gate = Gate()
    async with workers("a", plugin=gate.plugin) as (fleet, engine):
        asking = asyncio.create_task(fleet.map("price", ["X"]))
        await until(lambda: gate.begun == ["X"])
        before = engine.answering["a"]
        engine.answering["a"] = type(before)(before._argo)
        await until(lambda: gate.begun == ["X", "X"])
        gate.open_for["X"].set()
        assert isinstance((await asking)["X"], Outcome)


async def test_an_answer_that_is_lost_on_its_way_comes_again(workers: OpenWorkers) -> None:
    async with workers("a", plugin=quoting) as (fleet, engine):
        run, lost = engine.run, []

        async def twice(worker: str, request: bytes) -> bytes:
            if not lost:
                lost.append(await run(worker, request))
            return await run(worker, request)

        engine.run = twice  # type: ignore[method-assign]
        found = await fleet.map("price", SYMBOLS)
    assert all(isinstance(one, Outcome) for one in found.values())
    assert len(SYMBOLS) == len(found)


async def test_without_workers_nothing_is_asked(workers: OpenWorkers) -> None:
    async with workers(plugin=quoting) as (fleet, engine):
        with pytest.raises(FleetUnavailable, match="argo-mw fleet worker"):
            await fleet.map("price", ["X"])
        engine.away = True
        with pytest.raises(FleetUnavailable, match="cannot be reached"):
            await fleet.map("price", ["X"])


async def test_a_scheduler_that_goes_ends_the_round_with_an_error(workers: OpenWorkers) -> None:
    gate = Gate()
    async with workers("a", plugin=gate.plugin) as (fleet, engine):
        asking = asyncio.create_task(fleet.map("price", ["X"]))
        await until(lambda: gate.begun == ["X"])
        engine.away = True
        del engine.answering["a"]
        with pytest.raises(FleetUnavailable):
            await asking


async def test_bad_questions_are_refused_before_anything_is_sent(workers: OpenWorkers) -> None:
    async with workers("a", plugin=quoting) as (fleet, engine):
        with pytest.raises(UnknownOperation):
            await fleet.map("prize", ["X"])
        with pytest.raises(BadParameter, match="no subject"):
            await fleet.map("whole", ["X"])
        with pytest.raises(BadParameter, match="the text 'AAPL'"):
            await fleet.map("price", "AAPL")
        with pytest.raises(NotEncodable):
            await fleet.map("price", ["X"], days=object())
        with pytest.raises(BadParameter, match="a subject is None, which is not text"):
            await fleet.map("price", ["X", None])  # type: ignore[list-item]
        with pytest.raises(BadParameter, match="no option 'days': there are extensions, max_age"):
            fleet.options(days=1)  # type: ignore[call-arg]
        assert [] == engine.sent
        assert {} == await fleet.map("price", [])


async def test_what_a_worker_refuses_is_the_error_of_each_subject(workers: OpenWorkers) -> None:
    async with workers("a", plugin=quoting) as (fleet, _):
        found = await fleet.map("price", ["X", "Y"], weeks=1)
    assert [BadParameter, BadParameter] == [type(one) for one in found.values()]


async def test_processes_with_other_keys_refuse_each_other(workers: OpenWorkers) -> None:
    keys = {
        "caller": "one key of many letters, 32 at least",
        "a": "another key of as many letters!!",
    }
    async with workers("a", plugin=quoting, keys=keys) as (fleet, _):
        with pytest.raises(FleetError, match="signing_key"):
            await fleet.map("price", ["X"])


async def test_processes_of_other_versions_refuse_each_other(
    workers: OpenWorkers, monkeypatch
) -> None:
    async with workers("a", plugin=quoting) as (fleet, engine):
        run = engine.run

        async def elsewhere(worker: str, request: bytes) -> bytes:
            monkeypatch.setattr(messages, "VERSION", "2 of argo-mw 0.9")
            reply = await run(worker, request)
            monkeypatch.undo()
            return reply

        engine.run = elsewhere  # type: ignore[method-assign]
        with pytest.raises(FleetError, match=r"of version 2 of argo-mw 0\.9, and this one speaks"):
            await fleet.map("price", ["X"])


async def test_a_worker_with_too_many_rounds_says_so(workers: OpenWorkers, monkeypatch) -> None:
    monkeypatch.setattr(answering, "_MAX_ROUNDS", 0)
    async with workers("a", plugin=quoting) as (fleet, _):
        with pytest.raises(FleetError, match="worker a refuses: the worker answers 0 rounds"):
            await fleet.map("price", ["X"])


def test_a_connection_that_was_lost_is_one_line_in_the_log(caplog) -> None:
    from argo_mw_fleet.dask_engine import quiet

    quiet()
    log = logging.getLogger("distributed.worker")
    for error in (ConnectionResetError("reset by peer"), KeyError("a bug")):
        try:
            raise error
        except Exception:
            log.exception("Failed to say %s.", "hello")
    lost, bug = caplog.records
    assert ("Failed to say hello. reset by peer", None) == (lost.getMessage(), lost.exc_info)
    assert bug.exc_info is not None


@pytest.mark.parametrize(
    "error",
    [
        UpstreamError("x", upstream="u", action=Action.RETRY, retry_after=3.0, status=503),
        NotFound("x", upstream="u", status=404),
        QuotaExceeded("x", retry_at=5.0),
        BudgetExceeded("x"),
        LayerUnavailable("x", layer="halt"),
        PluginError("x", plugin="p"),
        SharedUnavailable("x", uncertain=True),
        WorkerLost("x"),
        RemoteError("x", original="KeyError"),
        BadParameter("x"),
    ],
)
def test_errors_arrive_as_what_they_are(error: ArgoError) -> None:
    arrived = error_from(error_fields(error))
    assert (type(error), str(error), vars(error)) == (type(arrived), str(arrived), vars(arrived))


def test_errors_of_several_upstreams_arrive_with_their_causes() -> None:
    causes = [NotFound("n", upstream="u"), QuotaExceeded("q", retry_at=7.0)]
    for error in (
        AllUpstreamsFailed("all", causes=causes),
        AllUpstreamsRefused("all", causes=causes, retry_at=7.0),
    ):
        arrived = error_from(error_fields(error))
        assert type(error) is type(arrived)
        assert isinstance(arrived, AllUpstreamsFailed)
        assert [NotFound, QuotaExceeded] == [type(one) for one in arrived.causes]


def test_errors_of_other_kinds_arrive_by_their_names() -> None:
    class Vendors(UpstreamError):
        pass

    assert UpstreamError is type(error_from(error_fields(Vendors("x", upstream="u"))))
    arrived = error_from(error_fields(KeyError("gone")))
    assert isinstance(arrived, RemoteError)
    assert ("KeyError", "KeyError: 'gone'") == (arrived.original, str(arrived))
    for garbage in (None, {}, {"kind": "Nothing"}, {"kind": "UpstreamError", "message": 1}):
        assert isinstance(error_from(garbage), RemoteError)
