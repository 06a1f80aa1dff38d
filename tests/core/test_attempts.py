"""The innermost step: deadlines, retries, guards, batching, lineage."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from argo_mw import (
    Action,
    AllUpstreamsFailed,
    Argo,
    BadParameter,
    CallCycle,
    Cost,
    DeadlineExceeded,
    InvalidAnswer,
    Outcome,
    QuotaExceeded,
    Refusal,
    UpstreamError,
)
from argo_mw.app.application import engine_of
from argo_mw.plugin import (
    ON_SENT,
    AnswerSeen,
    AttemptEnded,
    Batching,
    Call,
    CallEnded,
    Layer,
    Limits,
    Next,
    Request,
    RequestSent,
    RequestSettled,
    Result,
    Upstream,
    context_of,
    operation,
)
from argo_mw.testing import FakePlugin, Scripted, capture_events, settle
from tests.core.conftest import bars

retry = Action.RETRY


async def test_a_fresh_answer_says_where_it_is_from(open_argo, clock) -> None:
    async with open_argo(Scripted("alpaca", ["bars"], Outcome([1], tags=frozenset({"x"})))) as argo:
        outcome = await argo.outcome("bars", symbol="AAPL")
    assert outcome.upstream == "alpaca"
    assert outcome.as_of == clock.time()
    assert outcome.tags == {"op:bars", "subject:AAPL", "x"}
    assert [(a.upstream, a.status) for a in outcome.attempts] == [("alpaca", "ok")]
    assert outcome.age(clock.time() + 5) == 5.0
    assert Outcome(1).age(0.0) == 0.0


async def test_what_happened_is_told_in_order(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"])) as argo:
        events = capture_events(argo)
        await argo.call("bars", symbol="AAPL")
    assert [type(e) for e in events.all] == [
        RequestSent,
        RequestSettled,
        AttemptEnded,
        AnswerSeen,
        CallEnded,
    ]


# -- Deadlines ---------------------------------------------------------------------------------


async def test_the_caller_s_deadline_holds_and_cancels_the_request(open_argo, clock) -> None:
    upstream = Scripted("a", ["bars"])
    upstream.gate.clear()
    async with open_argo(upstream) as argo:
        task = asyncio.create_task(argo.options(timeout=1.0).call("bars", symbol="AAPL"))
        await clock.advance(0.99)
        assert not task.done()
        await clock.advance(0.02)
        with pytest.raises(DeadlineExceeded, match="within 1 s, the caller's deadline"):
            await task
        assert upstream.cancelled == 1
        assert clock.pending == 0


async def test_an_upstream_s_own_timeout_switches_to_the_next(open_argo, clock) -> None:
    slow = Scripted("one", ["bars"], timeout=0.5)
    slow.gate.clear()
    async with open_argo(slow, Scripted("two", ["bars"])) as argo:
        task = asyncio.create_task(argo.outcome("bars", symbol="AAPL"))
        await clock.advance(0.6)
        assert (await task).upstream == "two"


async def test_cancelling_a_call_is_no_timeout(open_argo, clock) -> None:
    upstream = Scripted("a", ["bars"])
    upstream.gate.clear()
    async with open_argo(upstream) as argo:
        task = asyncio.create_task(argo.options(timeout=1.0).call("bars", symbol="AAPL"))
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await clock.advance(0.1)  # past the announcement of its tags
        assert (upstream.cancelled, clock.pending) == (1, 0)


async def test_a_deadline_inside_an_outer_timeout_keeps_them_apart(open_argo) -> None:
    """The outer timeout stays the outer one's: it is not taken for the call's deadline."""
    upstream = Scripted("a", ["bars"])
    upstream.gate.clear()
    async with open_argo(upstream) as argo:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0):
                await argo.call("bars", symbol="AAPL")
    assert not isinstance(caught.value, DeadlineExceeded)


async def test_a_cancellation_that_became_an_error_is_taken_back(open_argo, clock) -> None:
    """Clients of vendors turn it into errors of theirs; the task is not being cancelled then."""

    async def fetch(call: Call) -> Outcome:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            msg = "connection lost"
            raise ConnectionError(msg) from None
        return Outcome(None)

    async def ask() -> int:
        with pytest.raises(UpstreamError, match="connection lost"):
            await argo.call("bars", symbol="A")
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    impatient = Upstream("a", {"bars"}, fetch, timeout=0.5)
    async with open_argo(impatient) as argo:
        asking = asyncio.create_task(ask())
        await clock.advance(0.6)
        assert await asking == 0


@pytest.mark.parametrize("option", ["timeout", "max_age"])
@pytest.mark.parametrize("wrong", [0, -1, math.nan, 10**400, 10**5000, "5", 1j, [1]], ids=type)
async def test_seconds_of_an_option_must_be_above_zero(open_argo, option: str, wrong: Any) -> None:
    async with open_argo(Scripted("a", ["bars"])) as argo:
        with pytest.raises(BadParameter, match="give a number of seconds above zero"):
            argo.options(**{option: wrong})


@pytest.mark.parametrize("seconds", [1e-9, 1, Decimal(5), 1e9, 1e18, 1e300, 1e308, math.inf])
async def test_any_other_number_of_seconds_will_do(
    tmp_path: Path, seconds: float | Decimal
) -> None:
    async def fetch(call: Call) -> Outcome:
        await asyncio.sleep(0)
        return Outcome("fine")

    asked = FakePlugin(operations=[bars], upstreams=[Upstream("a", {"bars"}, fetch)])
    config = {"argo": {"shared": "memory://", "state_dir": str(tmp_path)}}
    async with Argo.open(config, plugins={"asked": asked}, installed=False) as argo:
        patient = argo.options(timeout=max(1.0, float(seconds)), max_age=float(seconds))
        assert "fine" == await patient.call("bars", symbol="AAPL")
        argo.options(timeout=seconds)  # type: ignore[arg-type]


class Mute(Exception):
    """An error that cannot be described."""

    def __str__(self) -> str:
        msg = "no words"
        raise RuntimeError(msg)


async def test_an_error_that_cannot_say_what_it_is_is_an_error_all_the_same(open_argo) -> None:
    async def fetch(call: Call) -> Outcome:
        raise Mute

    mute = Upstream("a", {"bars"}, fetch, limits=Limits(concurrency=1))
    async with open_argo(mute, Scripted("b", ["bars"], "fine")) as argo:
        for _ in range(3):  # the one slot is given back each time
            outcome = await argo.outcome("bars", symbol="AAPL")
            assert "b" == outcome.upstream
    async with open_argo(mute) as argo:
        with pytest.raises(UpstreamError, match="Mute: its message cannot be read: RuntimeError"):
            await argo.call("bars", symbol="AAPL")


@pytest.mark.parametrize("odd", [math.nan, math.inf, -1.0, 1e308, 10**400, "soon", [1]])
async def test_a_time_that_is_none_is_not_waited_for(open_argo, clock, odd: Any) -> None:
    busy = UpstreamError("busy", upstream="a", action=retry, retry_after=odd)
    assert None is busy.retry_after
    assert None is QuotaExceeded("full", retry_at=odd).retry_at
    async with open_argo(Scripted("a", ["bars"], busy, "fine")) as argo:
        task = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await clock.advance(0.2)
        assert "fine" == await task


# -- Retries -----------------------------------------------------------------------------------


async def test_an_error_that_says_retry_is_asked_again(open_argo, clock) -> None:
    busy = UpstreamError("busy", upstream="a", action=retry, retry_after=2.0)
    upstream = Scripted("a", ["bars"], busy, "fine")
    async with open_argo(upstream) as argo:
        task = asyncio.create_task(argo.outcome("bars", symbol="AAPL"))
        await clock.advance(1.9)
        assert len(upstream.asked) == 1
        await clock.advance(0.2)
        outcome = await task
    assert outcome.value == "fine"
    assert [a.status for a in outcome.attempts] == ["failed", "ok"]


async def test_a_retry_beyond_the_deadline_is_not_waited_for(open_argo) -> None:
    busy = UpstreamError("busy", upstream="a", action=retry, retry_after=60.0)
    async with open_argo(Scripted("a", ["bars"], busy, "fine")) as argo:
        with pytest.raises(UpstreamError, match="busy"):
            await argo.options(timeout=5.0).call("bars", symbol="AAPL")


async def test_retries_end(open_argo, clock) -> None:
    busy = UpstreamError("busy", upstream="a", action=retry)
    upstream = Scripted("a", ["bars"], busy, retries=2)
    async with open_argo(upstream) as argo:
        task = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await clock.advance(10)
        with pytest.raises(UpstreamError, match="busy"):
            await task
    assert len(upstream.asked) == 3


# -- Guards ------------------------------------------------------------------------------------


class Ledger:
    """A guard that keeps books."""

    name = "ledger"

    def __init__(self, refuse: Exception | None = None) -> None:
        self.book: list[str] = []
        self._refuse = refuse

    async def reserve(self, request: Request) -> None:
        if self._refuse is not None:
            raise self._refuse
        self.book.append("reserve")

    async def settle(self, request: Request, result: Result) -> None:
        self.book.append(f"settle {type(result[0]).__name__}")

    async def release(self, request: Request) -> None:
        self.book.append("release")


async def test_a_guard_settles_what_was_sent(open_argo) -> None:
    ledger = Ledger()
    async with open_argo(Scripted("a", ["bars"]), guards=lambda _: [ledger]) as argo:
        await argo.call("bars", symbol="AAPL")
    assert ledger.book == ["reserve", "settle Outcome"]


async def test_a_guard_settles_failures_and_cancellations_too(open_argo) -> None:
    ledger = Ledger()
    upstream = Scripted("a", ["bars"], RuntimeError("broken"), "fine")
    async with open_argo(upstream, guards=lambda _: [ledger]) as argo:
        with pytest.raises(UpstreamError):
            await argo.call("bars", symbol="AAPL")
        upstream.gate.clear()
        task = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert ledger.book == ["reserve", "settle RuntimeError", "reserve", "settle CancelledError"]


async def test_guards_that_have_nothing_to_wait_for_take_no_task(open_argo) -> None:
    class AtOnce(Ledger):
        def settle(self, request: Request, result: Result) -> None:
            self.book.append("settled")

    class Buggy(Ledger):
        def settle(self, request: Request, result: Result) -> None:
            raise KeyError("bug")

    ledgers = [Buggy(), AtOnce(), Ledger()]
    async with open_argo(Scripted("a", ["bars"]), guards=lambda _: ledgers) as argo:
        with pytest.raises(KeyError, match="bug"):
            await argo.call("bars", symbol="AAPL")
    assert [one.book[1:] for one in ledgers] == [[], ["settled"], ["settle Outcome"]]


async def test_guards_before_a_refusal_are_released(open_argo) -> None:
    first, second = Ledger(), Ledger(QuotaExceeded("no", retry_at=7.0))
    upstream = Scripted("a", ["bars"])
    async with open_argo(upstream, guards=lambda _: [first, second]) as argo:
        with pytest.raises(QuotaExceeded, match="no"):
            await argo.call("bars", symbol="AAPL")
    assert first.book == ["reserve", "release"]
    assert upstream.asked == []


async def test_a_guard_s_own_bug_is_a_refusal(open_argo) -> None:
    upstream = Scripted("a", ["bars"])
    async with open_argo(upstream, guards=lambda _: [Ledger(KeyError("bug"))]) as argo:
        with pytest.raises(Refusal, match="guard failed, so upstream 'a' is not asked"):
            await argo.call("bars", symbol="AAPL")
    assert upstream.asked == []


async def test_releases_outlast_cancellations_and_each_other_s_bugs(open_argo) -> None:
    class Slow(Ledger):
        async def release(self, request: Request) -> None:
            await gate.wait()
            await super().release(request)

    class Buggy(Ledger):
        async def release(self, request: Request) -> None:
            raise KeyError("bug")

    class Endless(Ledger):
        async def reserve(self, request: Request) -> None:
            await asyncio.Event().wait()

    gate = asyncio.Event()
    slow = Slow()
    guards = [slow, Buggy(), Endless()]
    async with open_argo(Scripted("a", ["bars"]), guards=lambda _: guards) as argo:
        task = asyncio.create_task(argo.call("bars", symbol="A"))
        for _ in range(2):
            await settle()
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
        await settle()
    assert ["reserve", "release"] == slow.book


async def test_a_guard_s_bug_does_not_stand_in_for_a_cancellation(open_argo) -> None:
    class Buggy(Ledger):
        async def settle(self, request: Request, result: Result) -> None:
            raise KeyError("bug")

    upstream = Scripted("a", ["bars"])
    upstream.gate.clear()
    ledger = Ledger()
    async with open_argo(upstream, guards=lambda _: [Buggy(), ledger]) as argo:
        task = asyncio.create_task(argo.call("bars", symbol="A"))
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ["reserve", "settle CancelledError"] == ledger.book
        upstream.gate.set()
        with pytest.raises(KeyError, match="bug"):
            await argo.call("bars", symbol="A")


# -- Answers that are none ---------------------------------------------------------------------


async def test_what_is_no_outcome_is_a_failure_to_switch_away_from(open_argo) -> None:
    async def bare(call: Call) -> Outcome:
        return 5  # type: ignore[return-value]

    async with open_argo(Upstream("one", {"bars"}, bare)) as argo:
        with pytest.raises(UpstreamError, match=r"'one' answered with a int, not an Outcome"):
            await argo.call("bars", symbol="A")
    async with open_argo(Upstream("one", {"bars"}, bare), Scripted("two", ["bars"])) as argo:
        assert "two" == (await argo.outcome("bars", symbol="A")).upstream


async def test_an_answer_that_cannot_be_judged_is_not_acceptable(open_argo) -> None:
    @operation(accept=lambda value: None if len(value) else "empty", subject="symbol")  # type: ignore[arg-type]
    def texts(symbol: str) -> object:
        """Anything with a length."""

    one, two = Scripted("one", ["texts"], 5), Scripted("two", ["texts"], "text")
    async with open_argo(one, two, operations=(texts,)) as argo:
        outcome = await argo.outcome("texts", symbol="A")
    assert "text" == outcome.value
    async with open_argo(one, operations=(texts,)) as argo:
        with pytest.raises(InvalidAnswer, match=r"accept\(\) of texts failed: TypeError"):
            await argo.call("texts", symbol="A")


# -- Gathering ---------------------------------------------------------------------------------


async def test_calls_of_one_moment_share_a_request(open_argo, clock) -> None:
    upstream = Scripted("a", ["bars"], max_batch=100)
    ledger = Ledger()
    async with open_argo(upstream, guards=lambda _: [ledger]) as argo:
        symbols = [f"S{n}" for n in range(150)]
        task = asyncio.create_task(argo.map("bars", symbols))
        await clock.advance(0.01)
        outcomes = await task
    assert [outcomes[s].value for s in symbols] == symbols
    assert (upstream.requests, ledger.book.count("reserve")) == (2, 2)


async def test_different_questions_do_not_share_a_request(open_argo, clock) -> None:
    upstream = Scripted("a", ["bars"], max_batch=100)
    async with open_argo(upstream) as argo:
        tasks = [asyncio.create_task(argo.call("bars", symbol="A", days=d)) for d in (1, 2)]
        await clock.advance(0.01)
        await asyncio.gather(*tasks)
    assert upstream.requests == 2


async def test_one_refused_symbol_leaves_the_others_answered(open_argo, clock) -> None:
    def answer(call: Call) -> object:
        return UpstreamError("no such", upstream="a") if call.subject == "S7" else call.subject

    async with open_argo(Scripted("a", ["bars"], answer, max_batch=100)) as argo:
        task = asyncio.create_task(argo.map("bars", [f"S{n}" for n in range(100)]))
        await clock.advance(0.01)
        outcomes = await task
    errors = [s for s, o in outcomes.items() if isinstance(o, Exception)]
    assert errors == ["S7"]


async def test_one_caller_s_cancellation_leaves_the_batch(open_argo, clock) -> None:
    upstream = Scripted("a", ["bars"], max_batch=100)
    upstream.gate.clear()
    async with open_argo(upstream) as argo:
        stays, leaves = (asyncio.create_task(argo.call("bars", symbol=s)) for s in "AB")
        await clock.advance(0.01)
        leaves.cancel()
        await settle()
        upstream.gate.set()
        assert await stays == "A"
    assert upstream.cancelled == 0


async def test_the_last_caller_s_cancellation_ends_the_request(open_argo, clock) -> None:
    upstream = Scripted("a", ["bars"], max_batch=100)
    upstream.gate.clear()
    async with open_argo(upstream) as argo:
        tasks = [asyncio.create_task(argo.call("bars", symbol=s)) for s in "AB"]
        await clock.advance(0.01)
        for task in tasks:
            task.cancel()
        await settle()
        assert upstream.cancelled == 1
        assert engine_of(argo).tasks.names == []


async def test_nobody_is_left_so_nothing_is_sent(open_argo, clock) -> None:
    upstream = Scripted("a", ["bars"], max_batch=100)
    async with open_argo(upstream) as argo:
        task = asyncio.create_task(argo.call("bars", symbol="A"))
        await settle()
        task.cancel()
        await clock.advance(0.01)
    assert upstream.requests == 0


async def test_a_failed_batch_fails_every_caller_with_an_error_of_its_own(open_argo, clock) -> None:
    async def fetch_many(calls: object) -> list[Outcome]:
        return []

    upstream = Scripted("a", ["bars"], max_batch=100)
    object.__setattr__(upstream.upstream.batching, "fetch_many", fetch_many)
    async with open_argo(upstream) as argo:
        task = asyncio.create_task(argo.map("bars", ["A", "B"]))
        await clock.advance(0.01)
        errors = list((await task).values())
    assert [type(e) for e in errors] == [UpstreamError, UpstreamError]
    assert errors[0] is not errors[1]
    assert "answered 0 of 2 batched calls" in str(errors[0])


@pytest.mark.parametrize(
    "odd", [None, 5, ValueError("odd"), StopIteration(), asyncio.CancelledError()]
)
async def test_an_odd_answer_in_a_batch_fails_its_own_call_only(open_argo, clock, odd) -> None:
    """As it would have alone: the next upstream is asked, and nobody else waits for it."""

    async def fetch_many(calls: Sequence[Call]) -> Sequence[Outcome]:
        return [odd, *(Outcome(call.subject) for call in calls[1:])]

    one = Upstream("one", {"bars"}, Scripted("x", []).upstream.fetch, Batching(fetch_many))
    async with open_argo(one, Scripted("two", ["bars"])) as argo:
        asking = asyncio.create_task(argo.map("bars", ["A", "B"]))
        await clock.advance(0.01)
        await settle()
        assert asking.done()
        outcomes = asking.result()
    assert ["two", "one"] == [outcome.upstream for outcome in outcomes.values()]


@pytest.mark.parametrize("max_batch", [100, 0])
async def test_calls_that_travel_together_are_given_the_request_that_they_share(
    open_argo, clock, max_batch: int
) -> None:
    sent: dict[str, Request] = {}
    upstream = Scripted("a", ["bars"], max_batch=max_batch)
    async with open_argo(upstream) as argo:
        asking = [
            asyncio.create_task(
                argo.options(extensions={ON_SENT: partial(sent.setdefault, name)}).call(
                    "bars", symbol=name
                )
            )
            for name in "AB"
        ]
        await clock.advance(0.01)
        await asyncio.gather(*asking)
    assert ["A", "B"] == sorted(sent)
    assert [["A", "B"] if max_batch else ["A"]] == [[call.subject for call in sent["A"].calls]]
    assert bool(max_batch) == (sent["A"] is sent["B"])


async def test_shutdown_ends_a_batched_request(open_argo, clock) -> None:
    upstream = Scripted("a", ["bars"], max_batch=2)
    upstream.gate.clear()
    async with open_argo(upstream) as argo:
        tasks = [asyncio.create_task(argo.call("bars", symbol=s)) for s in "AB"]
        await settle()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(r, UpstreamError) for r in results)


# -- Nested calls ------------------------------------------------------------------------------


@operation(kind="compute", subject="symbol")
def signal(symbol: str) -> object:
    """Made from bars."""


def computing(compute, bars_upstream: Scripted, open_argo):
    """An application whose ``signal`` is computed by *compute(context, call)*."""
    plugin: FakePlugin

    async def fetch(call: Call) -> Outcome:
        assert plugin.context is not None
        return await compute(plugin.context, call)

    from argo_mw.plugin import Upstream

    plugin = FakePlugin(operations=[signal], upstreams=[Upstream("signals", {"signal"}, fetch)])
    return open_argo(bars_upstream, plugins={"signals": plugin})


async def test_an_answer_inherits_from_those_it_was_made_from(open_argo, clock) -> None:
    now = clock.time()
    old = Outcome(1, as_of=now - 60, expires_at=now + 5, cost=Cost(usd=0.5, requests=1))

    async def compute(context, call: Call) -> Outcome:
        one, two = [await context.call(call, "bars", symbol=call.subject, days=d) for d in (1, 2)]
        return Outcome(one.value + two.value)

    bars = Scripted("a", ["bars"], old, Outcome(2, as_of=now - 30))
    async with computing(compute, bars, open_argo) as argo:
        outcome = await argo.outcome("signal", symbol="AAPL")
    assert outcome.value == 3
    assert (outcome.as_of, outcome.expires_at) == (now - 60, now + 5)
    assert outcome.tags >= {"op:signal", "op:bars", "subject:AAPL"}
    assert (outcome.cost.usd, outcome.cost.requests) == (0.5, 1)


async def test_a_nested_call_keeps_its_parent_s_deadline_and_tenant(open_argo, clock) -> None:
    seen: list[Call] = []

    async def compute(context, call: Call) -> Outcome:
        return await context.call(call, "bars", symbol="X")

    bars = Scripted("a", ["bars"], lambda call: seen.append(call) or 1)
    async with computing(compute, bars, open_argo) as argo:
        await argo.options(tenant="acme", timeout=2.0).call("signal", symbol="AAPL")
    assert seen[0].tenant == "acme"
    assert seen[0].deadline == clock.monotonic() + 2.0
    assert len(seen[0].ancestors) == 1


async def test_a_call_that_asks_for_itself_is_an_error_and_no_deadlock(open_argo) -> None:
    async def compute(context, call: Call) -> Outcome:
        return await context.call(call, "signal", symbol=call.subject)

    async with computing(compute, Scripted("a", ["bars"]), open_argo) as argo:
        with pytest.raises(CallCycle, match="signal AAPL asks for itself"):
            await argo.call("signal", symbol="AAPL")


async def test_nested_calls_about_many_subjects_run_in_parallel(open_argo) -> None:
    async def compute(context, call: Call) -> Outcome:
        outcomes = await context.map(call, "bars", ["A", "B"])
        return Outcome(sorted(outcomes))

    async with computing(compute, Scripted("a", ["bars"]), open_argo) as argo:
        assert await argo.call("signal", symbol="AAPL") == ["A", "B"]


# -- Map and refresh ---------------------------------------------------------------------------


async def test_map_answers_or_fails_each_subject_alone(open_argo) -> None:
    def answer(call: Call) -> object:
        return RuntimeError("broken") if call.subject == "B" else call.subject

    async with open_argo(Scripted("a", ["bars"], answer)) as argo:
        outcomes = await argo.map("bars", ["A", "B", "A"])
    assert list(outcomes) == ["A", "B"]
    assert isinstance(outcomes["B"], UpstreamError)


async def test_map_needs_a_subject_to_map_over(open_argo) -> None:
    plain = operation(name="time", subject="")(lambda: None)
    async with open_argo(Scripted("a", ["time"]), operations=(plain,)) as argo:
        with pytest.raises(Exception, match="has no subject to map over"):
            await argo.map("time", ["A"])
        with pytest.raises(Exception, match="'nope', which does not exist"):
            await argo.map("nope", ["A"])


async def test_a_map_takes_its_subjects_in_one_place(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"])) as argo:
        with pytest.raises(BadParameter, match="mapped over 'symbol', which is given besides"):
            await argo.map("bars", ["A"], symbol="B")


async def test_a_refresh_asks_again_in_the_background_once(open_argo) -> None:
    upstream = Scripted("a", ["bars"])
    upstream.gate.clear()
    async with open_argo(upstream) as argo:
        call, _ = engine_of(argo).pipeline.calls.get("bars", "default", {"symbol": "A"})
        context_of(argo).refresh(call)
        context_of(argo).refresh(call)
        await settle()
        assert engine_of(argo).tasks.names == ["argo-mw:refresh:bars"]
        upstream.gate.set()
        await settle()
        assert engine_of(argo).tasks.names == []
    assert [c.refresh for c in upstream.asked] == [True]


async def test_limits_can_be_lifted_and_set_by_configuration(open_argo) -> None:
    upstream = Scripted("a", ["bars"], limits=Limits(per_day=1), retries=0)
    config = {"upstreams": {"a": {"per_day": 0, "timeout": 3, "retries": 4, "concurrency": 2}}}
    async with open_argo(upstream, config=config) as argo:
        settled = engine_of(argo).pipeline.upstreams["a"].upstream
    assert settled.limits == Limits(concurrency=2)
    assert (settled.timeout, settled.retries) == (3, 4)


async def test_layers_outside_see_all_failed_as_one_error(open_argo) -> None:
    seen: list[Exception] = []

    async def watch(call: Call, call_next: Next) -> Outcome:
        try:
            return await call_next(call)
        except Exception as error:
            seen.append(error)
            raise

    one, two = (Scripted(n, ["bars"], RuntimeError(n)) for n in ("one", "two"))
    async with open_argo(one, two, layers=(Layer("cache", watch, slot="cache"),)) as argo:
        with pytest.raises(AllUpstreamsFailed) as caught:
            await argo.call("bars", symbol="A")
    assert seen == [caught.value]


async def test_a_plugin_s_guards_go_with_its_layer_s_flag(open_argo) -> None:
    async def through(call: Call, call_next: Next) -> Outcome:
        return await call_next(call)

    ledger = Ledger()
    plugin = FakePlugin(layer=Layer("race", through, slot="race"), guards=lambda _: [ledger])
    upstream = Scripted("a", ["bars"])
    async with open_argo(upstream, plugins={"race": plugin}) as argo:
        await argo.call("bars", symbol="A")
        await argo.reload({"argo": {"shared": "memory://"}, "flags": {"race": "off"}})
        await argo.call("bars", symbol="A")
        assert ledger.book == ["reserve", "settle Outcome"]
        await argo.reload({"argo": {"shared": "memory://"}})
        await argo.call("bars", symbol="A")
    assert len(ledger.book) == 4


# -- Upstreams that cannot ---------------------------------------------------------------------


async def test_an_upstream_that_cannot_answer_is_passed_by_without_a_request(open_argo) -> None:
    keyless = Scripted("a", ["bars"], limits=Limits(per_day=1), metered=True)
    keyless.upstream = evolve(keyless.upstream, unsupported=lambda call: f"has no {call.subject}")
    able = Scripted("b", ["bars"])
    async with open_argo(keyless, able) as argo:
        events = capture_events(argo)
        for symbol in ("AAPL", "IBM", "MSFT"):
            assert (await argo.outcome("bars", symbol=symbol)).upstream == "b"
    assert keyless.requests == 0
    assert {e.upstream for e in events.of(RequestSent)} == {"b"}


async def test_an_upstream_that_cannot_answer_says_why(open_argo) -> None:
    keyless = Scripted("a", ["bars"])
    keyless.upstream = evolve(keyless.upstream, unsupported=lambda call: "has no key: set A_KEY")
    async with open_argo(keyless) as argo:
        with pytest.raises(UpstreamError, match="^upstream 'a' has no key: set A_KEY$"):
            await argo.call("bars", symbol="AAPL")


@pytest.mark.parametrize(("max_batch", "requests"), [(None, 1), (2, 2), (1, 3)])
async def test_batching_can_be_limited_or_switched_off(
    open_argo, clock, max_batch: int | None, requests: int
) -> None:
    upstream = Scripted("a", ["bars"], max_batch=100)
    config = {"upstreams": {"a": {"max_batch": max_batch}}} if max_batch else {}
    async with open_argo(upstream, config=config) as argo:
        task = asyncio.create_task(argo.map("bars", ["A", "B", "C"]))
        await clock.advance(0.01)
        await task
    assert upstream.requests == requests


async def test_a_batch_waits_while_calls_keep_coming_but_not_forever(open_argo, clock) -> None:
    upstream = Scripted("a", ["bars"], max_batch=100)
    async with open_argo(upstream) as argo:
        tasks = []
        for number in range(10):
            tasks.append(asyncio.create_task(argo.call("bars", symbol=f"S{number}")))
            await clock.advance(0.0009)
        assert upstream.requests == 0
        await clock.advance(0.002)
        assert upstream.requests == 1
        for number in range(10, 60):
            tasks.append(asyncio.create_task(argo.call("bars", symbol=f"S{number}")))
            await clock.advance(0.0009)
        assert upstream.requests > 1
        await clock.advance(0.01)
        await asyncio.gather(*tasks)
    assert len(upstream.asked) == 60
