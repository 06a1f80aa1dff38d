"""A new answer waits for the store, unless every process finds it elsewhere until it is there."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from argo_mw import Argo, Outcome
from argo_mw.plugin import HANDOVER, Call, Handover, context_of, layers_of, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted, settle
from argo_mw_cache import Cache, CachePlugin, loader
from argo_mw_cache.stored_answer import store_key

_names = itertools.count()


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


def instance(clock: FakeClock, store: str | None = None, **config: object) -> Argo:
    settings = {
        "argo": {"shared": store or f"memory://handover-{next(_names)}", "strict": True},
        "plugins": {"cache": {"early": 0.0, **config}},
    }
    asked = FakePlugin(operations=[bars], upstreams=[Scripted("a", ["bars"])])
    plugins = {"cache": CachePlugin, "asked": asked}
    return Argo.open(settings, clock=clock, plugins=plugins, installed=False)


class Load:
    """Loads through the cache of an instance, whose store takes its time.

    Attributes:
        handover: The agreement about the last one, with a layer that passes its result on.
        stored: Set once the store may go on.
        refuses: Whether that layer cannot store what the cache keeps.
    """

    def __init__(self, argo: Argo, *, opens: bool = True) -> None:
        (cache,) = [one.middleware for one in layers_of(argo) if one.name == "cache"]
        assert isinstance(cache, Cache)
        self.cache = cache
        self.context = context_of(argo)
        self.stored = asyncio.Event()
        self.refuses = False
        self._opens = opens
        self._publishing: set[asyncio.Task[None]] = set()
        shared = self.context.shared
        put = shared.set

        async def slowly(key: str, value: bytes, *, ttl: float | None = None) -> None:
            await self.stored.wait()
            await put(key, value, ttl=ttl)

        shared.set = slowly  # type: ignore[method-assign]

    def call(self, symbol: str = "A", **changes: object) -> Call:
        self.handover = Handover()
        call = self.context.make_call("bars", "", {"symbol": symbol})
        return call.extended({HANDOVER: self.handover}).evolve(**changes)

    async def answer(self, call: Call) -> Outcome:
        handover = call.extensions.get(HANDOVER)
        if isinstance(handover, Handover):
            if self._opens:
                handover.open()
            self._publishing.add(asyncio.create_task(self._publish(handover)))
        return Outcome("bars", expires_at=self.context.clock.time() + 60.0)

    async def _publish(self, handover: Handover) -> None:
        kept = handover.close()
        if kept is not None:
            if not self.refuses:
                await self.context.shared.set(kept.key, kept.data, ttl=kept.ttl)
            kept.ended(not self.refuses)

    def ask(self, call: Call) -> asyncio.Task[Outcome]:
        return asyncio.create_task(self.cache(call, self.answer))

    async def is_stored(self, call: Call) -> bool:
        return await self.context.shared.get(store_key(call)) is not None


@pytest.mark.parametrize(
    ("opens", "memory", "waits"), [(True, True, False), (False, True, True), (True, False, True)]
)
async def test_a_caller_waits_for_the_store_unless_the_answer_is_found_elsewhere(
    clock: FakeClock, opens: bool, memory: bool, waits: bool
) -> None:
    async with instance(clock, memory=memory) as argo:
        load = Load(argo, opens=opens)
        call = load.call()
        asking = load.ask(call)
        await settle()
        assert waits != asking.done()
        load.stored.set()
        assert "bars" == (await asking).value
        await settle()
        assert await load.is_stored(call)


async def test_a_caller_without_an_agreement_waits_for_the_store(clock: FakeClock) -> None:
    async with instance(clock) as argo:
        load = Load(argo)
        call = load.context.make_call("bars", "", {"symbol": "A"})
        asking = load.ask(call)
        await settle()
        assert not asking.done()
        load.stored.set()
        await asking


async def test_others_learn_until_when_and_by_which_versions_the_answer_is_kept(
    clock: FakeClock,
) -> None:
    async with instance(clock) as argo:
        load = Load(argo)
        before = await load.context.tag_versions.load(["op:bars", "subject:A", "layer:cache"])
        await load.ask(load.call())
        kept = load.handover.close()
        load.stored.set()
    assert kept is not None
    assert clock.time() + 60.0 == kept.until
    assert kept.until - clock.time() < (kept.ttl or 0.0)
    assert sorted(before.versions) == sorted(kept.versions)


@pytest.mark.parametrize(
    ("changes", "takes"), [({}, True), ({"refresh": True}, False), ({"max_age": 5.0}, False)]
)
async def test_a_kept_answer_of_others_will_do_where_the_cache_would_have_served_it(
    clock: FakeClock, changes: dict[str, object], takes: bool
) -> None:
    async with instance(clock) as argo:
        load = Load(argo)
        load.stored.set()
        call = load.call(**changes)
        load.handover.takes_kept = not takes
        await load.ask(call)
        assert takes == load.handover.takes_kept


async def test_a_cache_of_this_process_alone_agrees_on_nothing(clock: FakeClock) -> None:
    async with instance(clock, shared=False) as argo:
        load = Load(argo)
        await load.ask(load.call())
        assert (False, None) == (load.handover.takes_kept, load.handover.close())


async def test_callers_wait_again_while_too_many_answers_are_on_their_way(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "_MAX_SHARING", 2)
    async with instance(clock) as argo:
        load = Load(argo)
        asking = [load.ask(load.call(symbol)) for symbol in "ABC"]
        await settle()
        assert [True, True, False] == [one.done() for one in asking]
        load.stored.set()
        await asyncio.gather(*asking)
        await settle()
        load.stored.clear()
        again = load.ask(load.call("D"))
        await settle()
        assert again.done()
        load.stored.set()


async def test_an_answer_that_could_not_be_stored_with_its_result_is_stored_by_itself(
    clock: FakeClock,
) -> None:
    async with instance(clock) as argo:
        load = Load(argo)
        load.refuses = True
        call = load.call()
        assert "bars" == (await load.ask(call)).value
        await settle()
        assert not await load.is_stored(call)
        load.stored.set()
        await settle()
        assert await load.is_stored(call)


async def test_answers_that_are_on_their_way_to_the_store_are_there_after_the_end(
    clock: FakeClock,
) -> None:
    async with instance(clock, "memory://handover-end") as observer:
        store = context_of(observer).shared
        argo = instance(clock, "memory://handover-end")
        await argo.__aenter__()
        load = Load(argo)
        key = store_key(load.call())
        await load.ask(load.call())
        closing = asyncio.create_task(argo.aclose())
        await settle()
        assert (False, None) == (closing.done(), await store.get(key))
        load.stored.set()
        await closing
        assert await store.get(key) is not None
