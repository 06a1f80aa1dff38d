"""Lookups in the store: those of one turn travel together, and find and middleware agree."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Sequence

import pytest

from argo_mw import Argo, Closed, SharedUnavailable
from argo_mw.app.application import engine_of
from argo_mw.plugin import Call, Claims, GiveBacks, context_of, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted, settle
from argo_mw_cache import CachePlugin
from argo_mw_cache import lookups as lookups_module
from argo_mw_cache.lookups import Lookups
from argo_mw_coalesce import plugin as coalesce


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


class Store:
    """Reads of a store, each answered when its gate is open."""

    def __init__(self) -> None:
        self.reads: list[tuple[str, ...]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.away = False

    async def get(self, key: str) -> bytes | None:
        return (await self.get_many([key]))[0]

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        self.reads.append(tuple(keys))
        await asyncio.sleep(0)  # as any real store, it answers in another turn
        await self.gate.wait()
        if self.away:
            msg = "the store is away"
            raise SharedUnavailable(msg)
        return [None if key == "absent" else key.encode() for key in keys]


class Tasks:
    """Tasks, as long as they are open."""

    def __init__(self) -> None:
        self.open = True
        self.spawned = 0

    def spawn(self, name: str, code: object, *, context: contextvars.Context) -> object:
        self.spawned += 1
        if not self.open:
            code.close()  # type: ignore[attr-defined]
            msg = "the application is closed"
            raise Closed(msg)
        self.last = asyncio.create_task(code, name=name, context=context)  # type: ignore[arg-type]
        return self.last


class Context:
    """What lookups use of a context."""

    def __init__(self) -> None:
        self.clock = FakeClock(start=0.1)
        self.shared = Store()
        self.tasks = Tasks()
        self.claims = Claims(self.shared, self.clock, GiveBacks(self.clock))  # type: ignore[arg-type]


@pytest.fixture
def context() -> Context:
    return Context()


@pytest.fixture
def lookups(context: Context) -> Lookups:
    return Lookups(context, timeout=0.25)  # type: ignore[arg-type]


async def get(lookups: Lookups, key: str) -> bytes | None:
    return await lookups.get(key, Call(bars, {}, "bars:any"))


async def test_lookups_of_one_turn_are_one_read(context: Context, lookups: Lookups) -> None:
    keys = [f"k{number}" for number in range(100)]
    await asyncio.gather(*(get(lookups, key) for key in keys))
    found = await asyncio.gather(*(get(lookups, key) for key in [*keys, "absent"]))
    assert [*(key.encode() for key in keys), None] == found
    first, others, crowd = context.shared.reads
    assert ("k0",) == first
    assert tuple(keys[1:]) == others
    assert (*keys, "absent") == crowd


async def test_a_single_caller_goes_straight_to_the_store(
    context: Context, lookups: Lookups
) -> None:
    await asyncio.gather(*(get(lookups, key) for key in "abc"))
    for key in "def":
        assert key.encode() == await get(lookups, key)
    assert [("d",), ("e",), ("f",)] == context.shared.reads[2:]
    assert 2 == context.tasks.spawned  # for b and c, and for d: nobody knew that it is alone
    assert "cache:lookups" == context.tasks.last.get_name()
    assert context.tasks.last.done()


async def test_equal_keys_are_read_once(context: Context, lookups: Lookups) -> None:
    assert [b"k"] * 5 == await asyncio.gather(*(get(lookups, "k") for _ in range(5)))
    assert [("k",), ("k",)] == context.shared.reads


async def test_a_cancelled_caller_does_not_affect_others(
    context: Context, lookups: Lookups
) -> None:
    context.shared.gate.clear()
    tasks = [asyncio.create_task(get(lookups, key)) for key in "abc"]
    await settle()
    tasks[1].cancel()
    await settle()
    context.shared.gate.set()
    assert [b"a", b"c"] == [await tasks[0], await tasks[2]]


async def test_many_lookups_travel_in_parts(
    context: Context, lookups: Lookups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups_module, "_MAX_KEYS", 3)
    keys = [f"k{number}" for number in range(8)]
    found = await asyncio.gather(*(get(lookups, key) for key in keys))
    assert [key.encode() for key in keys] == found
    assert [1, 3, 3, 1] == [len(read) for read in context.shared.reads]


@pytest.mark.parametrize("alone", [True, False])
async def test_a_lease_is_asked_for_with_the_look_of_who_is_alone_and_loads(
    context: Context, lookups: Lookups, alone: bool
) -> None:
    asked: list[str] = []

    def foresee(call: Call) -> None:
        asked.append(call.key)

    async def look(key: str) -> bytes | None:
        return await lookups.get(key)

    context.claims.foresee = foresee
    if not alone:
        await asyncio.gather(*(look(key) for key in "abc"))
    assert [] == asked
    assert b"k" == await get(lookups, "k")
    assert b"k" == await look("k")
    assert (["bars:any"] if alone else []) == asked


async def test_a_cancelled_caller_leaves_the_others_their_error(
    context: Context, lookups: Lookups
) -> None:
    context.shared.away = True
    context.shared.gate.clear()
    tasks = [asyncio.create_task(get(lookups, key)) for key in "abc"]
    await settle()
    tasks[1].cancel()
    await settle()
    context.shared.gate.set()
    for task in (tasks[0], tasks[2]):
        with pytest.raises(SharedUnavailable, match="is away"):
            await task


async def test_an_unreachable_store_is_reported_to_every_caller(
    context: Context, lookups: Lookups
) -> None:
    context.shared.away = True
    answers = await asyncio.gather(*(get(lookups, key) for key in "abc"), return_exceptions=True)
    assert [SharedUnavailable] * 3 == [type(answer) for answer in answers]
    assert 3 == len({id(answer) for answer in answers})


async def test_no_caller_waits_longer_than_the_timeout(context: Context, lookups: Lookups) -> None:
    context.shared.gate.clear()
    tasks = [asyncio.create_task(get(lookups, key)) for key in "abc"]
    await context.clock.advance(0.24)
    assert not any(task.done() for task in tasks)
    await context.clock.advance(0.01)
    for task in tasks:
        with pytest.raises(SharedUnavailable, match=r"did not answer within 0\.25 s"):
            await task


async def test_callers_do_not_wait_for_a_batch_that_was_cancelled(
    context: Context, lookups: Lookups
) -> None:
    context.shared.gate.clear()
    tasks = [asyncio.create_task(get(lookups, key)) for key in "abc"]
    await settle()
    context.tasks.last.cancel()
    for task in tasks[1:]:
        with pytest.raises(SharedUnavailable, match="was stopped"):
            await task
    context.shared.gate.set()
    assert b"a" == await tasks[0]


async def test_nothing_is_looked_up_after_shutdown(context: Context, lookups: Lookups) -> None:
    context.tasks.open = False
    answers = await asyncio.gather(*(get(lookups, key) for key in "ab"), return_exceptions=True)
    assert b"a" == answers[0]
    assert isinstance(answers[1], SharedUnavailable)


# -- In the chain --------------------------------------------------------------------------------


def instance(store: str, upstream: Scripted, clock: FakeClock, **config: object) -> Argo:
    return Argo.open(
        {"argo": {"shared": store, "strict": True}, "plugins": {"cache": config}},
        clock=clock,
        plugins={
            "cache": CachePlugin,
            "coalesce": coalesce,
            "asked": FakePlugin(operations=[bars], upstreams=[upstream]),
        },
        installed=False,
    )


async def test_without_memory_every_hit_is_read_from_the_store() -> None:
    clock, upstream = FakeClock(start=0.1), Scripted("a", ["bars"])
    async with instance("memory://no-memory", upstream, clock, memory=False) as argo:
        outcomes = [await argo.outcome("bars", symbol="A") for _ in range(3)]
        await argo.invalidate("subject:A")
        await argo.call("bars", symbol="A")
    assert [(), ("cache",), ("cache",)] == [outcome.via for outcome in outcomes]
    assert 2 == len(upstream.asked)


async def test_a_hit_in_the_store_starts_no_flight() -> None:
    clock, one, other = FakeClock(start=0.1), Scripted("a", ["bars"]), Scripted("a", ["bars"])
    async with instance("memory://no-flight", one, clock) as first:
        await first.call("bars", symbol="A")
        async with instance("memory://no-flight", other, clock) as second:
            started: list[str] = []
            spawn = engine_of(second).tasks.spawn
            engine_of(second).tasks.spawn = lambda name, *a, **k: (  # type: ignore[method-assign]
                started.append(name),
                spawn(name, *a, **k),
            )[1]
            await second.call("bars", symbol="A")
    assert [] == [name for name in started if name.startswith("coalesce")]
    assert [] == other.asked


async def test_the_middleware_does_not_repeat_the_look_of_find() -> None:
    clock, upstream = FakeClock(start=0.1), Scripted("a", ["bars"])
    async with instance("memory://once", upstream, clock) as argo:
        reads: list[str] = []
        shared = context_of(argo).shared
        get = shared.get

        async def counted(key: str) -> bytes | None:
            reads.append(key)
            return await get(key)

        shared.get = counted  # type: ignore[method-assign]
        await argo.call("bars", symbol="A")
    assert 1 == sum(key.startswith("argo:cache:") for key in reads)


async def test_a_thousand_equal_calls_look_once_and_load_once() -> None:
    clock, upstream = FakeClock(start=0.1), Scripted("a", ["bars"])
    async with instance("memory://thousand", upstream, clock) as argo:
        answers = await asyncio.gather(*(argo.call("bars", symbol="A") for _ in range(1000)))
    assert {"A"} == set(answers)
    assert 1 == len(upstream.asked)
