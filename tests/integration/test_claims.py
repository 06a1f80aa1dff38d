"""The lease of a load is asked for with the look before it, and never outlives who asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from argo_mw import Argo, SharedUnavailable
from argo_mw.plugin import ClaimWanted, context_of
from argo_mw.testing import FakeClock, settle
from tests.integration.loading_instances import answering, instance


class Asked:
    """What an instance asks its store for, one by one."""

    def __init__(self, argo: Argo, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self._inside = False
        shared = context_of(argo).shared
        for name in ("get", "get_many", "get_or_acquire", "acquire_and_get"):
            monkeypatch.setattr(shared, name, self._noting(name, getattr(shared, name)))

    def _noting(self, name: str, ask: Callable[..., Any]) -> Callable[..., Any]:
        async def note(*arguments: object, **named: object) -> object:
            if self._inside:  # the store itself does one thing with the help of others
                return await ask(*arguments, **named)
            self.names.append(name)
            self._inside = True
            try:
                return await ask(*arguments, **named)
            finally:
                self._inside = False

        return note


async def is_free(argo: Argo, symbol: str, *, at: str = "a") -> bool:
    """Return whether the lease on the load of *symbol* can be had."""
    context = context_of(argo)
    call = context.make_call("quote", "default", {"symbol": symbol})
    lease = await context.shared.acquire(f"argo:flight:{{{call.key}}}@{at}", ttl=60)
    return lease is not None


async def test_a_new_answer_is_asked_for_in_one_round_trip_and_a_hit_takes_no_lease(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with instance(store, clock) as first, instance(store, clock) as second:
        for argo, symbol in ((first, "one"), (second, "two")):
            await argo.call("quote", symbol=symbol)  # from now on it hears of results
        asked = Asked(first, monkeypatch)
        await first.call("quote", symbol="A")
        await settle()
        assert ["get_or_acquire"] == asked.names
        found = Asked(second, monkeypatch)
        await second.call("quote", symbol="A")
        assert ["get_or_acquire"] == found.names
        assert await is_free(second, "A")


async def test_what_was_read_from_the_store_lately_is_looked_for_without_a_lease(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with instance(store, clock) as first, instance(store, clock, memory=False) as second:
        await second.call("quote", symbol="warm")
        await first.call("quote", symbol="A")
        await settle()
        asked = Asked(second, monkeypatch)
        for _ in range(2):
            assert ("cache",) == (await second.outcome("quote", symbol="A")).via
        assert ["get_or_acquire", "get"] == asked.names


@pytest.mark.parametrize("flags", [{"coalesce": "off"}, {"coalesce": {"percent": 0}}])
async def test_no_lease_is_asked_for_where_no_load_takes_one(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, flags: dict[str, object]
) -> None:
    async with instance(store, clock, flags=flags) as argo:
        await argo.call("quote", symbol="warm")
        asked = Asked(argo, monkeypatch)
        await argo.call("quote", symbol="A")
        assert ["get"] == asked.names


async def test_no_lease_is_asked_for_while_it_is_open_which_upstream_answers(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with instance(store, clock, answering(), answering("b")) as argo:
        await argo.call("quote", symbol="warm")
        asked = Asked(argo, monkeypatch)
        await argo.call("quote", symbol="A")
        assert ["get", "acquire_and_get"] == asked.names


@pytest.mark.parametrize("turns", range(12))
async def test_whenever_a_caller_leaves_the_lease_is_free_soon_after(
    store: str, clock: FakeClock, turns: int
) -> None:
    upstream = answering()
    async with instance(store, clock, upstream) as argo, instance(store, clock) as other:
        await argo.call("quote", symbol="warm")
        upstream.gate.clear()
        asking = asyncio.create_task(argo.call("quote", symbol="A"))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        await settle()
        await clock.advance(0.3)
        assert await is_free(other, "A")
        assert not context_of(argo).claims


async def test_a_lease_that_no_flight_takes_is_given_up_by_its_end(
    store: str, clock: FakeClock
) -> None:
    """A layer between them has answered."""
    async with instance(store, clock) as argo:
        await argo.call("quote", symbol="warm")
        context = context_of(argo)
        call = context.make_call("quote", "default", {"symbol": "A"})
        assert await context.claims.look("argo:cache:none", call) is None
        assert not await is_free(argo, "A")
        context.claims.leave(call)
        await settle()
        assert await is_free(argo, "A")


async def test_of_two_looks_at_once_the_refused_one_does_not_hide_the_lease_of_the_other(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with instance(store, clock) as argo:
        await argo.call("quote", symbol="warm")
        context = context_of(argo)
        ask = context.shared.get_or_acquire

        async def ask_slowly(*arguments: str, ttl: float) -> object:
            found = await ask(*arguments, ttl=ttl)
            await asyncio.sleep(0)
            return found

        monkeypatch.setattr(context.shared, "get_or_acquire", ask_slowly)
        call = context.make_call("quote", "default", {"symbol": "A"})
        looks = (context.claims.look(f"argo:cache:none{n}", call) for n in range(2))
        assert [None, None] == await asyncio.gather(*looks)
        context.claims.leave(call)
        await settle()
        assert await is_free(argo, "A")


async def test_what_waits_for_too_long_is_given_up_and_the_rest_later(
    store: str, clock: FakeClock
) -> None:
    async with instance(store, clock) as argo:
        claims, shared = context_of(argo).claims, context_of(argo).shared
        claims.foresee = lambda call: ClaimWanted(call.subject, "result", 60.0)
        for symbol in ("A", "B"):
            call = context_of(argo).make_call("quote", "default", {"symbol": symbol})
            assert await claims.look("none", call) is None
            await clock.advance(0.2)
        assert await shared.acquire("A", ttl=60) is not None
        assert await shared.acquire("B", ttl=60) is None
        await clock.advance(0.1)
        assert await shared.acquire("B", ttl=60) is not None
        assert 0 == len(claims)


async def test_a_store_that_refuses_leases_gives_its_answers_all_the_same(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with instance(store, clock) as first, instance(store, clock) as second:
        await second.call("quote", symbol="warm")
        for symbol in ("A", "B"):
            await first.call("quote", symbol=symbol)
        await settle()

        async def refuse(*_: object, **__: object) -> None:
            msg = "no scripts here"
            raise SharedUnavailable(msg)

        monkeypatch.setattr(context_of(second).shared, "get_or_acquire", refuse)
        asked = Asked(second, monkeypatch)
        assert ("cache",) == (await second.outcome("quote", symbol="A")).via
        assert ("cache",) == (await second.outcome("quote", symbol="B")).via
        assert ["get_or_acquire", "get", "get"] == asked.names


async def test_what_is_untaken_when_an_application_closes_is_given_up(
    store: str, clock: FakeClock
) -> None:
    async with instance(store, clock) as other:
        async with instance(store, clock) as argo:
            await argo.call("quote", symbol="warm")
            call = context_of(argo).make_call("quote", "default", {"symbol": "A"})
            await context_of(argo).claims.look("none", call)
            assert not await is_free(other, "A")
        assert await is_free(other, "A")
