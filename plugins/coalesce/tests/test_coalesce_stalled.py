"""A holder that stalled until another process could take its lease over, and a store that refuses."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from argo_mw import Argo, SharedUnavailable
from argo_mw.plugin import context_of, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted, settle
from argo_mw_coalesce import plugin

_names = itertools.count()


@operation(timeout=60.0, subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


class Fleet:
    """Two processes, of which one stalls while it holds the lease and the other takes it over."""

    def __init__(self) -> None:
        self.clock = FakeClock(start=0.1)
        store = f"memory://stalled-{next(_names)}"
        self.answers = ["first", "first"]
        self.upstreams = [self._upstream(number) for number in range(2)]
        self.argos = [self._open(store, upstream) for upstream in self.upstreams]

    def _upstream(self, number: int) -> Scripted:
        return Scripted("a", ["bars"], lambda _: self.answers[number], retries=0)

    def _open(self, store: str, upstream: Scripted) -> Argo:
        config = {
            "argo": {"shared": store, "strict": True},
            "plugins": {"coalesce": {"lease_ttl": 3.0, "result_ttl": 60.0}},
        }
        asked = FakePlugin(operations=[bars], upstreams=[upstream])
        plugins = {"coalesce": plugin, "asked": asked}
        return Argo.open(config, clock=self.clock, plugins=plugins, installed=False)

    def ask(self, number: int) -> asyncio.Task[object]:
        return asyncio.create_task(self.argos[number].call("bars", symbol="AAPL"))

    async def stalled(self) -> asyncio.Task[object]:
        """Return the caller of a holder that cannot renew its lease, until that has run out."""

        async def away(*_: object, **__: object) -> bool:
            msg = "a long way off"
            raise SharedUnavailable(msg)

        context_of(self.argos[0]).shared.renew = away  # type: ignore[method-assign]
        self.answers[0] = "its own"
        self.upstreams[0].gate.clear()
        caller = self.ask(0)
        await settle()
        await self.clock.advance(3.1)
        return caller

    async def ends(self, caller: asyncio.Task[object]) -> object:
        self.upstreams[0].gate.set()
        await settle()
        assert caller.done()
        return await caller


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


async def test_a_holder_that_stalled_takes_no_result_from_before_its_own(fleet: Fleet) -> None:
    """Its successor has not ended, and what is in the store is of an earlier holder."""
    async with fleet.argos[0], fleet.argos[1]:
        fleet.answers[1] = "earlier"
        assert "earlier" == await fleet.ask(1)
        await fleet.clock.advance(0.1)
        caller = await fleet.stalled()
        fleet.upstreams[1].gate.clear()
        successor = fleet.ask(1)
        await fleet.clock.advance(0.5)
        assert 2 == len(fleet.upstreams[1].asked)
        assert "its own" == await fleet.ends(caller)
        fleet.upstreams[1].gate.set()
        await successor


@pytest.mark.parametrize(
    ("change", "answer"), [("nothing", "newer"), ("expire", "newer"), ("invalidate", "its own")]
)
async def test_a_holder_that_stalled_takes_a_newer_result_that_was_not_invalidated(
    fleet: Fleet, change: str, answer: str
) -> None:
    async with fleet.argos[0], fleet.argos[1]:
        caller = await fleet.stalled()
        fleet.answers[1] = "newer"
        successor = fleet.ask(1)
        await fleet.clock.advance(0.5)
        assert "newer" == await successor
        if change != "nothing":
            await getattr(context_of(fleet.argos[1]), change)(["subject:AAPL"])
        assert answer == await fleet.ends(caller)


async def test_a_holder_that_stalled_asks_for_no_newer_result_where_the_store_takes_none(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller has waited for the store once."""
    async with fleet.argos[0], fleet.argos[1]:
        caller = await fleet.stalled()
        shared, asked = context_of(fleet.argos[0]).shared, []

        async def refuse(*_: object, **__: object) -> bool:
            msg = "it is full"
            raise SharedUnavailable(msg)

        async def get(key: str) -> None:
            asked.append(key)

        monkeypatch.setattr(shared, "settle", refuse)
        monkeypatch.setattr(shared, "get", get)
        assert "its own" == await fleet.ends(caller)
        assert [] == [key for key in asked if key.startswith("argo:result:")]


async def test_a_lease_is_released_again_where_the_store_may_have_done_it_before(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To do it twice takes nothing from anybody, as the lease is known by its fence."""
    async with fleet.argos[0], fleet.argos[1]:
        shared = context_of(fleet.argos[0]).shared
        release = shared.release

        async def lost(*_: object, **__: object) -> bool:
            msg = "no answer"
            raise SharedUnavailable(msg, uncertain=True)

        monkeypatch.setattr(shared, "settle", lost)
        monkeypatch.setattr(shared, "release", lost)
        await fleet.ask(0)
        await settle()
        later = fleet.ask(1)
        await settle()
        assert not later.done()
        monkeypatch.setattr(shared, "release", release)
        await fleet.clock.advance(0.5)
        assert later.done()
        assert "first" == await later
