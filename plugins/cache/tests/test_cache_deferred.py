"""Answers loaded while the store is away reach it afterwards, unless they are out of date."""

from __future__ import annotations

import asyncio
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
from argo_mw_cache.stored_answer import store_key

from .conftest import Opened

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


# -- by itself -------------------------------------------------------------------------------------


async def keep(deferred: Deferred, opened: Opened, *keys: str, data: bytes = b"bars") -> None:
    """Keep *data* at *keys* until it can be stored, for five seconds."""
    tag_snapshot = await opened.context.tag_versions.load(opened.call.tags)
    outcome = Outcome("bars", expires_at=opened.context.clock.time() + 5.0)
    for key in keys:
        deferred.keep(key, data, tag_snapshot.versions, outcome, 2.0)


@pytest.mark.parametrize(
    ("answers", "size", "waiting"), [(3, 5, 3), (4, 5, 3), (3, 10, 2), (1, 20, 1), (1, 21, 0)]
)
async def test_deferred_answers_are_bounded_and_the_oldest_are_dropped(
    opened: Opened, answers: int, size: int, waiting: int
) -> None:
    deferred = Deferred(opened.context, max_answers=3, max_bytes=20)
    for number in range(answers):
        outcome = Outcome(number, expires_at=1.0)
        deferred.keep(f"k{number}", b"x" * size, (), outcome, 0.0)
    assert (waiting, waiting * size) == (len(deferred), deferred._bytes)
    assert [f"k{n}" for n in range(answers)][answers - waiting :] == list(deferred._waiting)


@pytest.mark.parametrize(
    ("present", "mine", "replaced"),
    [
        (None, 1.0, True),
        (1.0, 2.0, True),
        (2.0, 2.0, False),
        (3.0, 2.0, False),
        (None, None, False),
    ],
)
async def test_a_deferred_answer_replaces_only_older_answers(
    opened: Opened, present: float | None, mine: float | None, replaced: bool
) -> None:
    context, key = opened.context, store_key(opened.call)
    there = await opened.encoded(ttl=9.0, as_of=present)
    await context.shared.set(key, there)
    data = await opened.encoded(ttl=5.0, as_of=mine)
    tag_snapshot = await context.tag_versions.load(opened.call.tags)
    outcome = Outcome("bars", expires_at=context.clock.time() + 5.0, as_of=mine)
    deferred = Deferred(context)
    deferred.keep(key, data, tag_snapshot.versions, outcome, 2.0)
    deferred.resume()
    await settle()
    assert (data if replaced else there) == await context.shared.get(key)
    assert 0 == len(deferred)


@pytest.mark.parametrize(("ttl", "kept"), [(5.0, True), (0.001, True), (0.0, False), (-1.0, False)])
async def test_a_deferred_answer_is_stored_until_the_end_of_its_grace(
    opened: Opened, clock: FakeClock, ttl: float, kept: bool
) -> None:
    context, key = opened.context, store_key(opened.call)
    data = await opened.encoded(ttl=ttl)
    tag_snapshot = await context.tag_versions.load(opened.call.tags)
    deferred = Deferred(context)
    outcome = Outcome("bars", expires_at=clock.time() + ttl)
    deferred.keep(key, data, tag_snapshot.versions, outcome, 2.0)
    deferred.resume()
    await settle()
    assert (data if kept else None) == await context.shared.get(key)
    await clock.advance(max(0.0, ttl) + 1.9)
    assert kept == (await context.shared.get(key) is not None)
    await clock.advance(0.2)
    assert None is await context.shared.get(key)


async def test_what_waits_is_stored_by_one_task_at_a_time_and_what_comes_later_by_another(
    opened: Opened, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, stored_at, goes_on = opened.context, [], asyncio.Event()
    put = context.shared.compare_and_set

    async def slowly(key, expected, value, *, ttl):
        stored_at.append(key)
        await goes_on.wait()
        return await put(key, expected, value, ttl=ttl)

    monkeypatch.setattr(context.shared, "compare_and_set", slowly)
    deferred = Deferred(context)
    deferred.resume()
    for key in ("a", "b"):
        await keep(deferred, opened, key)
        deferred.resume()
        await settle()
    assert ["a"] == stored_at
    goes_on.set()
    await settle()
    assert (["a", "b"], 0) == (stored_at, len(deferred))
    await keep(deferred, opened, "c")
    deferred.resume()
    await settle()
    assert ["a", "b", "c"] == stored_at


@pytest.mark.parametrize(("usable", "pending", "stored"), [(1, 0, 1), (0, 0, 0), (1, 1, 0)])
async def test_nothing_that_waits_is_stored_before_the_store_knows_of_every_invalidation(
    opened: Opened,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    usable: int,
    pending: int,
    stored: int,
) -> None:
    context, versions = opened.context, opened.context.tag_versions
    deferred = Deferred(context)
    await keep(deferred, opened, "a")
    monkeypatch.setattr(type(versions), "usable", bool(usable))
    monkeypatch.setattr(type(versions), "pending", bool(pending))
    deferred.resume()
    await settle()
    assert stored == (await context.shared.get("a") is not None)


async def test_an_answer_that_is_refused_lets_others_go_first_and_is_given_up_at_the_third_time(
    opened: Opened, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, tried, waiting = opened.context, [], []

    async def refuse(key: str, *_: object, **__: object) -> None:
        tried.append(key)
        msg = "too large"
        raise SharedUnavailable(msg)

    monkeypatch.setattr(context.shared, "compare_and_set", refuse)
    deferred = Deferred(context)
    await keep(deferred, opened, "a", "b")
    for _ in range(6):
        deferred.resume()
        await settle()
        waiting.append(len(deferred))
    assert ["a", "b"] * 3 == tried
    assert [2, 2, 2, 2, 1, 0] == waiting
    await keep(deferred, opened, "c", data=b"x" * 20)
    assert 20 == deferred._bytes
