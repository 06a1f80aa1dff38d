"""What memory answers, to the moment at which an answer expires, and what is said of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
from attrs import define

from argo_mw import Argo, NotFound, Outcome, UpstreamError
from argo_mw.plugin import Call, Context, context_of, layers_of, operation
from argo_mw.store import Freshness, TagSnapshot, snapshot
from argo_mw.testing import FakeClock, FakePlugin, Scripted, settle
from argo_mw_cache import Cache, CachePlugin, entry
from argo_mw_cache.entry import CacheEntry, Times

_names = itertools.count()


@operation(subject="symbol", timeout=100.0)
def bars(symbol: str) -> object:
    """Price bars."""


@define
class Opened:
    """A cache in use, one call, and the upstream that answers it."""

    clock: FakeClock
    argo: Argo
    context: Context
    cache: Cache
    call: Call
    upstream: Scripted

    async def remember(
        self,
        *,
        fresh: float,
        early: float | None = None,
        eagerness: float = 0.0,
        stale: float = 100.0,
        age: float = 0.0,
        error: NotFound | None = None,
        lacks: frozenset[str] = frozenset(),
    ) -> None:
        """Put an answer into memory that is fresh and stale for so many seconds from now."""
        now = self.clock.monotonic()
        outcome = Outcome("old", as_of=self.clock.time() - age, lacks=lacks)
        kept = CacheEntry(
            outcome=outcome,
            snapshot=snapshot("old"),
            shared_as_is=True,
            tag_snapshot=await self.context.tag_versions.load(self.call.tags),
            times=Times(now + fresh, now + (early or fresh), now + stale, eagerness),
            error=error,
        )
        self.cache.memory.store(self.call.key, kept, now)

    async def found(self, **changes: object) -> object:
        """Return the value that is at hand, or None."""
        found = self.cache.find(self.call.evolve(**changes))
        outcome = found if found is None or isinstance(found, Outcome) else await found
        return None if outcome is None else outcome.value


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    async with opened_with() as one:
        yield one


class opened_with:
    """An application whose cache has these settings."""

    def __init__(self, *script: object, **config: object) -> None:
        self._clock = FakeClock(start=0.5)
        self._upstream = Scripted("a", ["bars"], *script, retries=0, timeout=1_000.0)
        settings = {
            "argo": {"shared": f"memory://hits-{next(_names)}", "strict": True},
            "plugins": {"cache": config},
        }
        asked = FakePlugin(operations=[bars], upstreams=[self._upstream])
        plugins = {"cache": CachePlugin, "asked": asked}
        self._argo = Argo.open(settings, clock=self._clock, plugins=plugins, installed=False)

    async def __aenter__(self) -> Opened:
        await self._argo.__aenter__()
        (cache,) = [one.middleware for one in layers_of(self._argo) if one.name == "cache"]
        assert isinstance(cache, Cache)
        context = context_of(self._argo)
        call = context.make_call("bars", "default", {"symbol": "A"})
        return Opened(self._clock, self._argo, context, cache, call, self._upstream)

    async def __aexit__(self, *_: object) -> None:
        await self._argo.aclose()


# -- to the moment ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "found"), [(7.5, "old"), (8.0, None), (8.5, None)])
async def test_an_answer_is_at_hand_until_the_moment_at_which_it_expires(
    opened: Opened, seconds: float, found: str | None
) -> None:
    await opened.remember(fresh=8.0)
    opened.clock.stall(seconds)
    assert found == await opened.found(missed=("cache",))


@pytest.mark.parametrize(("max_age", "found"), [(3.5, None), (4.0, "old"), (None, "old")])
async def test_an_answer_is_at_hand_for_who_accepts_its_age(
    opened: Opened, max_age: float | None, found: str | None
) -> None:
    await opened.remember(fresh=8.0, age=4.0)
    assert found == await opened.found(max_age=max_age, missed=("cache",))


@pytest.mark.parametrize(
    ("drawn", "throttled", "asked"), [(0.0, False, 0), (0.9, False, 1), (0.9, True, 0)]
)
async def test_who_comes_shortly_before_the_end_gets_the_answer_and_may_refresh_it(
    monkeypatch: pytest.MonkeyPatch, drawn: float, throttled: bool, asked: int
) -> None:
    """Unless its source has just failed: that is left alone for a while."""
    monkeypatch.setattr(entry.random, "random", lambda: drawn)
    async with opened_with() as opened:
        if throttled:
            opened.cache._throttle.failed(opened.call.key, "down")
        await opened.remember(fresh=1.0, early=0.25, eagerness=1.0)
        opened.clock.stall(0.5)
        assert "old" == await opened.found()
        await settle()
        assert asked == len(opened.upstream.asked)


# -- what is said ----------------------------------------------------------------------------------


async def test_nothing_is_waited_for_where_it_is_known_that_nothing_is_at_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Memory has no fresh answer and there is no store, or both have been looked at before."""
    async with opened_with(shared=False) as opened:
        await opened.remember(fresh=8.0)
        await opened.context.expire(["subject:A"])
        assert None is opened.cache.find(opened.call)
        monkeypatch.setattr(opened.context.tag_versions, "peek", lambda _: Freshness.UNKNOWN)
        assert None is opened.cache.find(opened.call.evolve(missed=("cache",)))
        assert None is await opened.found()


@pytest.mark.parametrize("replaced", [False, True])
async def test_an_answer_that_was_invalidated_makes_room_and_not_one_that_came_meanwhile(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    await opened.remember(fresh=8.0)
    memory, older = opened.cache.memory, opened.cache.memory.get(opened.call.key)

    async def check(_: TagSnapshot) -> Freshness:
        if replaced:
            await opened.remember(fresh=9.0)
        return Freshness.MISS

    async def down(call: Call) -> Outcome:
        raise UpstreamError("down", upstream="a")

    monkeypatch.setattr(opened.context.tag_versions, "check", check)
    with pytest.raises(UpstreamError):
        await opened.cache(opened.call.evolve(missed=("cache",)), down)
    assert replaced == (memory.get(opened.call.key) is not None)
    assert memory.get(opened.call.key) is not older


async def test_only_the_first_caller_looks_into_the_store_and_not_after_it_has(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = asyncio.Event()

    async def get(key: str) -> None:
        await goes_on.wait()

    monkeypatch.setattr(opened.context.shared, "get", get)
    assert None is opened.cache.find(opened.call.evolve(missed=("cache",)))
    looking = asyncio.create_task(opened.found())
    await settle()
    assert None is opened.cache.find(opened.call)
    goes_on.set()
    assert None is await looking


FRESH = "would hit: the answer in memory is fresh for another 8 s"


@pytest.mark.parametrize(
    ("kept", "change", "said"),
    [
        ({"fresh": 8.0}, None, FRESH),
        ({"fresh": 0.0}, None, "would miss: the answer in memory expired 0 s ago"),
        ({"fresh": -4.0}, None, "would miss: the answer in memory expired 4 s ago"),
        (
            {"fresh": 8.0, "error": NotFound("none", upstream="a")},
            None,
            "would hit: memory holds for another 8 s that there is no answer",
        ),
        (
            {"fresh": 8.0, "lacks": frozenset({"news", "bars"})},
            None,
            FRESH + "; it lacks bars, news, and is tried again then",
        ),
        (
            {"fresh": 8.0},
            "expire",
            "would miss: by its tags' versions the answer in memory is stale",
        ),
    ],
)
async def test_it_is_said_what_memory_would_answer(
    opened: Opened, kept: dict[str, object], change: str | None, said: str
) -> None:
    await opened.remember(**kept)  # type: ignore[arg-type]
    if change is not None:
        await getattr(opened.context, change)(["subject:A"])
    assert said == opened.cache.explain(opened.call)


@pytest.mark.parametrize(
    ("shared", "said"),
    [
        (True, "not in memory (1 answers are); would look into the store"),
        (False, "would miss: not in memory (1 answers are)"),
    ],
)
async def test_it_is_said_where_an_answer_is_looked_for_that_memory_does_not_hold(
    shared: bool, said: str
) -> None:
    async with opened_with(shared=shared) as opened:
        await opened.remember(fresh=8.0)
        other = opened.context.make_call("bars", "default", {"symbol": "B"})
        assert said == opened.cache.explain(other)


# -- patience --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("soft", "seconds", "patience"),
    [
        (2.0, None, 2.0),
        (2.0, 50.0, 2.0),
        (2.0, 1.0, 0.9),
        (0.0, 10.0, 9.0),
    ],
)
async def test_a_call_waits_for_a_newer_answer_as_long_as_it_is_patient(
    soft: float, seconds: float | None, patience: float
) -> None:
    async with opened_with(soft_timeout=soft, shared=False) as opened:
        await opened.remember(fresh=-1.0)
        opened.upstream.gate.clear()
        call = opened.call
        if seconds is not None:
            call = call.until(opened.clock.monotonic() + seconds)
        asking = asyncio.create_task(opened.cache(call, never))
        await opened.clock.advance(patience - 0.01)
        assert not asking.done()
        await opened.clock.advance(0.02)
        assert asking.done()
        outcome = await asking
        why = f"a newer one takes longer than {patience:.3g} s"
        assert ("old", f"stale, because {why}") == (outcome.value, outcome.notes[-1].text)
        opened.upstream.gate.set()


async def never(call: Call) -> Outcome:
    return await asyncio.Event().wait()  # type: ignore[return-value]


async def test_a_call_without_an_end_waits_for_a_newer_answer_where_nothing_else_limits_it() -> (
    None
):
    """It asks for that itself: there is nobody to serve an old answer to meanwhile."""
    gate = asyncio.Event()

    async def newer(call: Call) -> Outcome:
        await gate.wait()
        return Outcome("newer")

    async with opened_with(soft_timeout=0.0, shared=False) as opened:
        await opened.remember(fresh=-1.0)
        asking = asyncio.create_task(opened.cache(opened.call, newer))
        await opened.clock.advance(90.0)
        assert not asking.done()
        gate.set()
        assert "newer" == (await asking).value
        assert [] == opened.upstream.asked


@pytest.mark.parametrize(
    ("kept", "changes", "stands_in"),
    [
        ({}, {}, True),
        ({"stale": 2.0}, {}, False),
        ({"age": 9.0}, {"max_age": 5.0}, False),
        ({"error": NotFound("none", upstream="a")}, {}, False),
    ],
    ids=["in its grace", "after it", "too old", "no answer"],
)
async def test_an_old_answer_stands_in_for_one_that_does_not_come_in_time(
    opened: Opened, kept: dict[str, object], changes: dict[str, object], stands_in: bool
) -> None:
    await opened.remember(fresh=-1.0, **kept)  # type: ignore[arg-type]
    opened.clock.stall(2.0)
    call = opened.call.evolve(**changes)
    found = opened.cache.stand_in(call)
    assert stands_in == (found is not None)
    await opened.context.expire(["subject:A"])
    assert stands_in == (opened.cache.stand_in(call) is not None)
    await opened.context.invalidate(["subject:A"])
    assert None is opened.cache.stand_in(call)
