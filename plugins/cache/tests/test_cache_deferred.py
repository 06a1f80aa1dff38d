"""Answers loaded while the store is away reach it afterwards, unless they are out of date."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import pytest

from argo_mw import Argo, Outcome, SharedUnavailable
from argo_mw.plugin import context_of, hookimpl, operation
from argo_mw.store.memory import MemoryShared
from argo_mw.store.memory_store import named_store
from argo_mw.testing import FakeClock, FakePlugin, Scripted, settle
from argo_mw_cache import CachePlugin, deferred
from argo_mw_cache.deferred import Deferred

pytestmark = pytest.mark.usefixtures("no_luck")

_names = itertools.count()


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


class Moody(MemoryShared):
    """A store that can be away for one instance, and keeps what it holds meanwhile."""

    away = False

    async def get(self, key: str) -> bytes | None:
        self._answer()
        return await super().get(key)

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        self._answer()
        return await super().get_many(keys)

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        self._answer()
        await super().set(key, value, ttl=ttl)

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None = None) -> None:
        self._answer()
        await super().set_many(items, ttl=ttl)

    async def compare_and_set(
        self, key: str, expected: bytes | None, value: bytes, *, ttl: float | None = None
    ) -> bool:
        self._answer()
        return await super().compare_and_set(key, expected, value, ttl=ttl)

    def _answer(self) -> None:
        if self.away:
            msg = "away"
            raise SharedUnavailable(msg)


class Driver:
    """The scheme ``moody://NAME``."""

    @hookimpl
    def register_shared_drivers(self) -> Mapping[str, object]:
        async def open_(url: str, clock: object) -> Moody:
            return Moody(named_store(url, 1_000), clock=clock, max_entries=1_000)  # type: ignore[arg-type]

        return {"moody": open_}


@pytest.fixture
def store() -> str:
    return f"moody://deferred-{next(_names)}"


def instance(store: str, upstream: Scripted, clock: FakeClock) -> Argo:
    settings = {"argo": {"shared": store, "strict": True}, "plugins": {"cache": {"ttl": 60}}}
    asked = FakePlugin(operations=[bars], upstreams=[upstream])
    plugins = {"cache": CachePlugin, "driver": Driver(), "asked": asked}
    return Argo.open(settings, clock=clock, plugins=plugins, installed=False)


def away(argo: Argo, is_it: bool) -> None:
    shared = context_of(argo).shared
    assert isinstance(shared, Moody)
    shared.away = is_it


async def back(argo: Argo, clock: FakeClock) -> None:
    """Let the store be reachable again, learn the versions of its tags, and use it."""
    away(argo, False)
    await clock.advance(1.0)
    await argo.call("bars", symbol="something else")
    await settle()


def answering(*values: object) -> Scripted:
    return Scripted("a", ["bars"], *values, lambda _: "more", retries=0)


async def test_answers_loaded_during_an_outage_are_stored_after_it(
    store: str, clock: FakeClock
) -> None:
    one, other = answering("loaded"), answering("other's")
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        await context_of(first).tag_versions.load(["subject:A"])
        away(first, True)
        assert "loaded" == await first.call("bars", symbol="A")
        assert "other's" == await second.call("bars", symbol="B")
        await back(first, clock)
        assert "loaded" == await second.call("bars", symbol="A")
    assert ["B"] == [call.subject for call in other.asked]


async def test_an_answer_invalidated_elsewhere_during_the_outage_is_not_stored(
    store: str, clock: FakeClock
) -> None:
    one, other = answering("loaded"), answering("newer")
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        await context_of(first).tag_versions.load(["subject:A"])
        away(first, True)
        await first.call("bars", symbol="A")
        await second.invalidate("subject:A")
        await back(first, clock)
        keys = await context_of(second).shared.scan("argo:cache:")
        assert 1 == len(keys)  # that of something else
        assert "newer" == await second.call("bars", symbol="A")


async def test_an_answer_invalidated_here_during_the_outage_is_not_stored(
    store: str, clock: FakeClock
) -> None:
    one, other = answering("loaded"), answering("newer")
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        await context_of(first).tag_versions.load(["subject:A"])
        away(first, True)
        await first.call("bars", symbol="A")
        await first.invalidate("subject:A")
        await back(first, clock)
        assert "newer" == await second.call("bars", symbol="A")


async def test_an_answer_that_expired_during_the_outage_is_not_stored(
    store: str, clock: FakeClock
) -> None:
    async with instance(store, answering("loaded"), clock) as first:
        await context_of(first).tag_versions.load(["subject:A"])
        away(first, True)
        await first.call("bars", symbol="A")
        await clock.advance(61)
        await back(first, clock)
        assert 1 == len(
            await context_of(first).shared.scan("argo:cache:")
        )  # that of something else


async def test_a_newer_answer_of_another_instance_stays(store: str, clock: FakeClock) -> None:
    one, other = answering("older"), answering("newer")
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        await context_of(first).tag_versions.load(["subject:A"])
        away(first, True)
        await first.call("bars", symbol="A")
        await clock.advance(1)
        assert "newer" == await second.call("bars", symbol="A")
        await back(first, clock)
        async with instance(store, answering("not asked"), clock) as third:
            assert "newer" == await third.call("bars", symbol="A")


async def test_an_older_answer_of_another_instance_is_replaced(
    store: str, clock: FakeClock
) -> None:
    one, other = answering("newer"), answering("older")
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        await context_of(first).tag_versions.load(["subject:A"])
        assert "older" == await second.call("bars", symbol="A")
        await clock.advance(1)
        away(first, True)
        await first.call("bars", symbol="A")
        await back(first, clock)
        async with instance(store, answering("not asked"), clock) as third:
            assert "newer" == await third.call("bars", symbol="A")


async def test_deferred_answers_survive_further_outages(store: str, clock: FakeClock) -> None:
    one, other = answering("loaded"), answering("other's")
    async with instance(store, one, clock) as first, instance(store, other, clock) as second:
        await context_of(first).tag_versions.load(["subject:A"])
        away(first, True)
        await first.call("bars", symbol="A")
        await first.call("bars", symbol="its versions are unknown")
        await settle()
        away(first, False)
        context_of(first).tag_versions._on_gap()  # as when the channel is made anew
        assert "more" == await first.call("bars", symbol="B")
        await settle()
        away(first, True)
        await first.call("bars", symbol="C")
        await back(first, clock)
        assert "loaded" == await second.call("bars", symbol="A")


async def test_deferred_answers_are_bounded_and_the_newest_stays(
    clock: FakeClock, store: str
) -> None:
    async with instance(store, answering(), clock) as argo:
        waiting = Deferred(context_of(argo), max_answers=2, max_bytes=10)
        outcome = Outcome("x", expires_at=clock.time() + 60)
        for key in ("one", "two", "two", "three"):
            waiting.keep(key, b"123", (), outcome, 0.0)
        assert ["two", "three"] == list(waiting._waiting)
        waiting.keep("four", b"12345678", (), outcome, 0.0)
        assert ["four"] == list(waiting._waiting)
        assert 8 == waiting._bytes
        waiting.keep("five", bytes(11), (), outcome, 0.0)
        assert (0, 0) == (len(waiting), waiting._bytes)
    assert deferred._MAX_BYTES < 2**25
