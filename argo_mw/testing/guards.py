"""The contract of guards, as tests that any guard must pass.

Subclass :class:`GuardConformance` in a test module and override the fixture ``guard``. The suite
needs pytest, and pytest-asyncio in its automatic mode.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, cast

import pytest
from attrs import frozen

from argo_mw.base.errors import Refusal, SharedUnavailable
from argo_mw.base.tasks import Tasks
from argo_mw.chain.context import Context
from argo_mw.chain.runtime import Runtime
from argo_mw.model.events import Events
from argo_mw.model.guard import DryRunGuard, Guard, Request, StandingGuard
from argo_mw.model.outcome import Outcome
from argo_mw.store.codec import Codecs
from argo_mw.store.tag_versions import TagVersions
from argo_mw.testing.clock import FakeClock, settle
from argo_mw.testing.slow_store import SlowStore

_MAX_TURNS = 120


@frozen
class GuardUnderTest:
    """A guard, and how to look at what it has taken.

    Attributes:
        guard: The guard, which counts in a store of the suite's or in its own memory.
        request: Returns a new request, one that the guard lets pass while little is taken.
        taken: Returns all that is taken now, in the store and in the guard's memory; what is equal
            before and after shows that nothing has leaked.
        exhaust: Brings the guard to refuse whatever is asked next; ``None`` where it cannot be.
    """

    guard: Guard
    request: Callable[[], Request]
    taken: Callable[[], Awaitable[object]]
    exhaust: Callable[[], Awaitable[None]] | None = None


def context_on(store: SlowStore, clock: FakeClock) -> Context:
    """Return a context of no application that counts in *store*, for guards that need one."""
    return Context(
        clock=clock,
        shared=store,
        tag_versions=TagVersions(store, clock),
        codecs=Codecs(),
        events=Events(),
        tasks=Tasks(),
        state_dir=Path("no state is kept"),
        runtime=cast("Runtime", None),
    )


class MakeGuard(Protocol):
    """Makes guards for the suite."""

    def __call__(self, store: SlowStore, clock: FakeClock) -> Awaitable[GuardUnderTest]:
        """Return a new guard that counts in *store*."""


class GuardConformance:
    """What every guard must hold to: a request that is not sent is not charged.

    Override the fixture ``make_guard``.
    """

    @pytest.fixture
    def make_guard(self) -> MakeGuard:
        """Return what makes the guard under test: the subclass overrides this."""
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> FakeClock:
        """Return a clock in the middle of a minute and a day."""
        return FakeClock(wall=86_400.0 * 20_000 + 3_630.0)

    @pytest.fixture(params=[0, 1, 2])
    def store(self, request: pytest.FixtureRequest, clock: FakeClock) -> SlowStore:
        """Return a store whose answers take turns of the loop.

        Args:
            request: Says how many turns.
            clock: The time.
        """
        return SlowStore(clock=clock, turns=request.param)

    async def test_what_was_not_sent_is_given_back(
        self, make_guard: MakeGuard, store: SlowStore, clock: FakeClock
    ) -> None:
        """A request that is released is charged to nothing."""
        under = await make_guard(store, clock)
        before = await under.taken()
        request = under.request()
        await under.guard.reserve(request)
        await under.guard.release(request)
        await settle()
        assert before == await under.taken()

    async def test_a_caller_that_leaves_while_it_reserves_takes_nothing(
        self, make_guard: MakeGuard, store: SlowStore, clock: FakeClock
    ) -> None:
        """At every turn of the loop."""
        under = await make_guard(store, clock)
        before = await under.taken()
        for turns in range(_MAX_TURNS):
            request = under.request()
            reserving = asyncio.ensure_future(under.guard.reserve(request))
            for _ in range(turns):
                await asyncio.sleep(0)
            reserved = reserving.done()
            reserving.cancel()
            await asyncio.wait([reserving])
            if reserved:
                await under.guard.release(request)
            await settle()
            assert before == await under.taken(), f"it left after {turns} turns"
            if reserved:
                return
        pytest.fail(f"it took more than {_MAX_TURNS} turns to reserve")

    async def test_a_caller_that_leaves_while_another_reserves_takes_nothing_of_its_own(
        self, make_guard: MakeGuard, store: SlowStore, clock: FakeClock
    ) -> None:
        """What the first caller has reserved stays reserved, at every turn of the loop."""
        under = await make_guard(store, clock)
        first = under.request()
        await under.guard.reserve(first)
        with_one = await under.taken()
        for turns in range(12):
            reserving = asyncio.ensure_future(under.guard.reserve(second := under.request()))
            for _ in range(turns):
                await asyncio.sleep(0)
            reserving.cancel()
            await asyncio.wait([reserving])
            if not reserving.cancelled() and reserving.exception() is None:
                await under.guard.release(second)
            await settle()
            assert with_one == await under.taken()
        remaining = under.guard.settle(first, (Outcome(1),) * len(first.calls))
        if remaining is not None:
            await remaining

    async def test_a_request_that_is_refused_takes_nothing(
        self, make_guard: MakeGuard, store: SlowStore, clock: FakeClock
    ) -> None:
        """A refusal leaves what is taken as it was."""
        under = await make_guard(store, clock)
        if under.exhaust is None:
            pytest.skip("this guard refuses nothing by itself")
        await under.exhaust()
        before = await under.taken()
        with pytest.raises(Refusal):
            await under.guard.reserve(under.request())
        await settle()
        assert before == await under.taken()

    async def test_a_dry_run_takes_nothing_and_says_what_reserve_would_do(
        self, make_guard: MakeGuard, store: SlowStore, clock: FakeClock
    ) -> None:
        """It refuses what ``reserve`` refuses, for the same reason, and leaves all as it was."""
        under = await make_guard(store, clock)
        if not isinstance(under.guard, DryRunGuard):
            pytest.skip("this guard makes no dry runs")
        before = await under.taken()
        for _ in range(3):
            await under.guard.dry_run(under.request())
        assert before == await under.taken()
        await under.guard.reserve(request := under.request())
        await under.guard.release(request)
        if under.exhaust is None:
            return
        await under.exhaust()
        before = await under.taken()
        with pytest.raises(Refusal) as refused:
            await under.guard.dry_run(under.request())
        assert before == await under.taken()
        with pytest.raises(type(refused.value)) as expected:
            await under.guard.reserve(under.request())
        assert str(expected.value) == str(refused.value)
        assert expected.value.retry_at == refused.value.retry_at

    async def test_how_it_stands_is_said_at_once_and_takes_nothing(
        self, make_guard: MakeGuard, store: SlowStore, clock: FakeClock
    ) -> None:
        """No limit has more left than there is, and the states have the same names at all times."""
        under = await make_guard(store, clock)
        if not isinstance(under.guard, StandingGuard):
            pytest.skip("this guard does not say how it stands")
        before = await under.taken()
        first = under.guard.standing()
        assert before == await under.taken()
        await under.guard.reserve(request := under.request())
        await under.guard.release(request)
        if under.exhaust is not None:
            await under.exhaust()
        then = under.guard.standing()
        assert first.states.keys() == then.states.keys()
        assert all(0 <= one.left <= one.limit for one in then.limits.values())

    async def test_what_cannot_be_given_back_at_once_is_given_back_later(
        self, make_guard: MakeGuard, store: SlowStore, clock: FakeClock
    ) -> None:
        """A store that is away when a caller leaves is asked again."""
        under = await make_guard(store, clock)
        before = await under.taken()
        request = under.request()
        await under.guard.reserve(request)
        store.away = True
        await under.guard.release(request)
        await settle()
        store.away = False
        await clock.advance(10.0)
        assert before == await under.taken()

    async def test_a_store_that_goes_while_it_reserves_leaves_nothing_taken(
        self, make_guard: MakeGuard, store: SlowStore, clock: FakeClock
    ) -> None:
        """At every turn of the loop, once the store is back."""
        under = await make_guard(store, clock)
        before = await under.taken()
        for turns in range(_MAX_TURNS):
            request = under.request()
            reserving = asyncio.ensure_future(under.guard.reserve(request))
            for _ in range(turns):
                await asyncio.sleep(0)
            store.away = True
            await settle()
            store.away = False
            if reserving.done() and reserving.exception() is None:
                await under.guard.release(request)
                await settle()
                assert before == await under.taken()
                return
            with pytest.raises((Refusal, SharedUnavailable)):
                await reserving
            await clock.advance(10.0)
            assert before == await under.taken(), f"it went away after {turns} turns"
