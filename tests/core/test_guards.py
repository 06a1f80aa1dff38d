"""Guards keep their contract, and what was never sent is charged nowhere, also when callers leave."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_mw import Argo, Outcome, Refusal
from argo_mw.app.application import engine_of
from argo_mw.base.tasks import Tasks
from argo_mw.chain.quota import Quota
from argo_mw.model.guard import Request, Result
from argo_mw.plugin import Call, Limits, Upstream, context_of, hookimpl, operation
from argo_mw.store import GiveBacks
from argo_mw.testing import (
    FakeClock,
    FakePlugin,
    GuardConformance,
    GuardUnderTest,
    Scripted,
    SlowStore,
    settle,
)

_names = itertools.count()
"""Of stores: one that is empty although it was used before has lost what it counted."""


@operation(name="paid", timeout=60.0, subject="symbol")
def paid(symbol: str) -> object:
    """An answer that costs something."""


def counted(store: SlowStore, prefix: str) -> dict[str, int]:
    """Return the counters below *prefix* that are not 0."""
    return {key: count for key, count in store.counters.items() if key.startswith(prefix)}


class TestQuota(GuardConformance):
    @pytest.fixture
    def make_guard(self):
        async def make(store, clock):
            limits = Limits(per_second=2, per_minute=3, per_day=4, concurrency=2)
            upstream = Scripted("a", ["paid"], limits=limits).upstream
            guard = Quota(upstream, store, clock, tasks=Tasks())

            def request():
                return Request(upstream, ())

            async def taken():
                assert guard._slots is not None
                return counted(store, "argo:quota:"), guard._slots._value, len(guard._taken)

            async def exhaust():
                for _ in range(2):
                    await guard.reserve(used := request())
                    assert guard.settle(used, (Outcome(1),)) is None
                await clock.advance(1.0)
                await guard.reserve(used := request())
                assert guard.settle(used, (Outcome(1),)) is None

            return GuardUnderTest(guard, request, taken, exhaust)

        return make


class Holding:
    """A guard that holds a unit in a slow store while a request is under way."""

    name = "holding"

    def __init__(self, store: SlowStore, clock: FakeClock) -> None:
        self._store = store
        self._give_backs = GiveBacks(clock)

    async def reserve(self, request: Request) -> None:
        await self._store.add("held", limit=1_000)

    def settle(self, request: Request, result: Result) -> Awaitable[None]:
        return self._give_back()

    async def release(self, request: Request) -> None:
        await self._give_back()

    def _give_back(self) -> asyncio.Future[None]:
        return self._give_backs.start("held", lambda: self._store.add("held", -1), seconds=60.0)


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_whenever_a_caller_leaves_what_is_charged_is_what_was_sent(turns: int) -> None:
    """At every turn of the loop; and nothing else of it stays."""
    for left_after in range(60):
        sent: list[str] = []
        async with opened(FakeClock(), turns, sent) as (argo, store):
            caller = asyncio.create_task(argo.call("paid", symbol="A"))
            for _ in range(left_after):
                await asyncio.sleep(0)
            caller.cancel()
            await asyncio.wait([caller])
            await settle()
            assert_at_rest(argo, store, sent)
    assert sent


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["come", "come", "leave", "leave", "turn", "turn", "wait", "flicker"]),
            st.integers(0, 30),
        ),
        max_size=60,
    ),
    st.integers(0, 2),
)
@settings(max_examples=60, deadline=None)
def test_callers_that_come_leave_and_time_out_leave_nothing_behind(
    steps: list[tuple[str, int]], turns: int
) -> None:
    asyncio.run(drive(steps, turns))


async def drive(steps: list[tuple[str, int]], turns: int) -> None:
    clock, sent = FakeClock(wall=86_400.0 * 20_000 + 3_600.0), []
    callers: list[asyncio.Task[object]] = []
    async with opened(clock, turns, sent, per_day=25) as (argo, store):
        for step, number in steps:
            match step:
                case "come":
                    asked = argo.options(timeout=0.5 + number / 10)
                    callers.append(asyncio.create_task(asked.call("paid", symbol=f"{number % 4}")))
                case "leave" if callers:
                    callers[number % len(callers)].cancel()
                case "turn":
                    for _ in range(number):
                        await asyncio.sleep(0)
                case "wait":
                    await clock.advance(number / 20)
                case "flicker":
                    store.away = not store.away
        store.away = False
        await clock.advance(60.0)
        for caller in callers:
            caller.cancel()
        answers = await asyncio.gather(*callers, return_exceptions=True)
        assert all(
            isinstance(one, (int, Refusal, asyncio.CancelledError)) or "deadline" in str(one)
            for one in answers
        ), answers
        await clock.advance(60.0)
        assert_at_rest(argo, store, sent)
        assert len(sent) <= 25


class opened:
    """An application with a quota and a guard that count in a slow store."""

    def __init__(self, clock: FakeClock, turns: int, sent: list[str], per_day: int = 1_000) -> None:
        self.store = SlowStore(clock=clock, turns=turns)
        self.clock = clock

        async def fetch(call: Call) -> Outcome:
            sent.append(call.subject)
            await clock.sleep(0.2) if call.subject == "1" else await asyncio.sleep(0)
            return Outcome(len(sent))

        limits = Limits(per_second=1_000, per_minute=1_000, per_day=per_day, concurrency=3)
        upstream = Upstream("a", {"paid"}, fetch, limits=limits, metered=True)
        fake = FakePlugin(
            operations=[paid], upstreams=[upstream], guards=lambda _: [Holding(self.store, clock)]
        )
        self.argo = Argo.open(
            {"argo": {"shared": f"slow://{next(_names)}", "strict": True}},
            clock=clock,
            plugins={"asked": fake, "slow": self},
            installed=False,
        )

    @hookimpl
    def register_shared_drivers(self):
        async def open_slow(url, clock):
            return self.store

        return {"slow": open_slow}

    async def __aenter__(self) -> tuple[Argo, SlowStore]:
        await self.argo.__aenter__()
        return self.argo, self.store

    async def __aexit__(self, *error: object) -> None:
        await self.argo.__aexit__(*error)


def assert_at_rest(argo: Argo, store: SlowStore, sent: list[str]) -> None:
    charged: dict[str, int] = {}
    for key, count in counted(store, "argo:quota:").items():
        window = key.split(":")[3]
        charged[window] = charged.get(window, 0) + count
    assert {len(sent)} if sent else set() == set(charged.values())
    assert {} == counted(store, "held")
    assert [] == store.leases
    assert [] == [name for name in engine_of(argo).tasks.names if "guard" in name]
    assert 0 == len(context_of(argo).tasks)
