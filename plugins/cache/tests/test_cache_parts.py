"""The parts of the cache by themselves: their bounds, their times, and their messages."""

from __future__ import annotations

import math

import pytest

from argo_mw import Outcome, SharedUnavailable
from argo_mw.plugin import operation
from argo_mw.store import TagSnapshot, snapshot
from argo_mw.testing import FakeClock
from argo_mw_cache import Cache, entry, throttle
from argo_mw_cache.commands_store import CacheStore, KeptAnswer, _operation_of, _parts
from argo_mw_cache.config import CacheConfig
from argo_mw_cache.dry_run import look_into_store
from argo_mw_cache.entry import CacheEntry, Times
from argo_mw_cache.gauges import gauges
from argo_mw_cache.memory_level import MemoryLevel
from argo_mw_cache.stored_answer import _is_news, store_key
from argo_mw_cache.throttle import Throttle

from .conftest import Opened, bars

# -- configuration ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "accepted", "refused"),
    [
        ("ttl", [0.1], [0.0]),
        ("jitter", [0.0, 0.99], [-0.1, 1.0]),
        *((name, [0.0, 1.0], [-0.1]) for name in ("negative_ttl", "grace", "early")),
        *((name, [0.0, 1.0], [-0.1]) for name in ("soft_timeout", "throttle")),
        ("store_timeout", [0.1], [0.0]),
        *((name, [1], [0]) for name in ("max_entries", "max_bytes", "max_value_bytes")),
        ("max_entries", [2**63 - 1], [2**63]),
    ],
)
def test_what_is_configured_is_within_bounds(name, accepted, refused) -> None:
    for value in accepted:
        assert value == getattr(CacheConfig(**{name: value}), name)
    for value in refused:
        with pytest.raises(ValueError, match=name):
            CacheConfig(**{name: value})


def test_sizes_are_in_mebibytes_and_an_operation_may_have_a_grace_of_its_own() -> None:
    config = CacheConfig()
    assert (268_435_456, 16_777_216) == (config.max_bytes, config.max_value_bytes)
    assert 300.0 == config.grace_of(bars)
    own = operation(grace=0.0, subject="symbol", name="own")(lambda symbol: None)
    assert 0.0 == config.grace_of(own)


# -- the throttle ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "why"), [(0.0, "down"), (1.9, "down"), (2.0, None), (3.0, None)]
)
async def test_a_failure_counts_for_its_time(clock: FakeClock, seconds: float, why) -> None:
    kept = Throttle(2.0, clock)
    kept.failed("a", "down")
    await clock.advance(seconds)
    assert (why, None) == (kept.why("a"), kept.why("b"))
    assert (why is not None) == ("a" in kept._failures)


def test_a_successful_load_ends_the_throttle_and_0_seconds_remember_no_failure(clock) -> None:
    kept, none = Throttle(2.0, clock), Throttle(0.0, clock)
    for one in (kept, none):
        one.succeeded("a")
        one.failed("a", "down")
        one.failed("b", "down")
        one.succeeded("a")
    assert (None, "down") == (kept.why("a"), kept.why("b"))
    assert {} == none._failures


def test_of_too_many_failures_the_oldest_is_forgotten(clock, monkeypatch) -> None:
    monkeypatch.setattr(throttle, "_MAX_FAILURES", 2)
    kept = Throttle(2.0, clock)
    for key in ("a", "b", "a"):
        kept.failed(key, key)
    assert ["b", "a"] == list(kept._failures)
    kept.failed("c", "c")
    assert ["a", "c"] == list(kept._failures)


# -- memory ----------------------------------------------------------------------------------------


def kept_entry(size: int = 10, until: float = math.inf) -> CacheEntry:
    times = Times(until, until, until, 0.0)
    return CacheEntry(Outcome(1), snapshot(1), True, TagSnapshot((), 0, 0), times, None, size)


@pytest.mark.parametrize(
    ("sizes", "held"),
    [([10, 10], 20), ([10, 10, 10], 20), ([15, 5], 20), ([15, 6], 6), ([99], 99), ([99, 1], 1)],
)
def test_memory_is_bounded_by_entries_and_bytes_and_keeps_the_newest(sizes, held: int) -> None:
    memory = MemoryLevel(max_entries=2, max_bytes=20)
    for number, size in enumerate(sizes):
        memory.store(f"k{number}", kept_entry(size), 0.0)
    assert held == memory.bytes
    assert memory.get(f"k{len(sizes) - 1}") is not None


def test_replaced_and_dropped_entries_no_longer_count() -> None:
    memory = MemoryLevel(max_entries=9, max_bytes=99)
    for size in (10, 20):
        memory.store("a", kept_entry(size), 0.0)
    assert (1, 20) == (len(memory), memory.bytes)
    memory.drop("b")
    memory.drop("a")
    assert (0, 0) == (len(memory), memory.bytes)
    memory.store("a", kept_entry(), 0.0)
    memory.clear()
    assert (0, 0) == (len(memory), memory.bytes)


@pytest.mark.parametrize(("now", "left"), [(0.9, 9), (1.0, 2), (1.1, 2)])
def test_each_store_sweeps_four_and_removes_those_whose_time_is_over(now: float, left: int) -> None:
    memory = MemoryLevel(max_entries=99, max_bytes=999)
    for number in range(7):
        memory.store(f"k{number}", kept_entry(until=1.0), 0.0)
    for number in range(2):
        memory.store(f"new{number}", kept_entry(), now)
    if left == 9:
        assert 9 == len(memory)
    else:
        for _ in range(4):
            memory.store("new0", kept_entry(), now)
        assert {"new0", "new1"} == set(memory._entries.keys())
        assert 20 == memory.bytes


def test_gauges_say_how_full_memory_is_once_there_is_one() -> None:
    found: list[MemoryLevel] = []
    read = gauges(lambda: found[0] if found else None)
    assert [None] * 4 == [gauge.read() for gauge in read]
    found.append(MemoryLevel(max_entries=9, max_bytes=99))
    found[0].store("a", kept_entry(10), 0.0)
    assert [1, 9, 10, 99] == [gauge.read() for gauge in read]


# -- times -----------------------------------------------------------------------------------------


def test_an_entry_is_refreshed_early_from_twenty_times_its_load_before_its_end() -> None:
    times = Times.of(100.0, load_time=2.0, early=0.5, grace=30.0)
    assert Times(100.0, 80.0, 130.0, 1.0) == times


@pytest.mark.parametrize(
    ("now", "drawn", "wants"),
    [
        (99.0, 1 - math.exp(-1.01), True),
        (99.0, 1 - math.exp(-0.99), False),
        (90.0, 0.999, False),
        (100.0, 0.0, True),
    ],
)
def test_a_reader_refreshes_by_chance_as_xfetch_says(monkeypatch, now, drawn, wants) -> None:
    monkeypatch.setattr(entry.random, "random", lambda: drawn)
    times = Times.of(100.0, load_time=2.0, early=0.5, grace=0.0)
    assert wants == times.wants_refresh(now)


# -- news ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("as_of", "seen", "news"),
    [
        (None, None, False),
        (None, 1.0, True),
        (1.0, None, True),
        (2.0, 1.0, True),
        (1.0, 1.0, False),
        (1.0, 2.0, False),
        (1.0, math.nan, True),
    ],
)
def test_only_a_later_answer_is_new(as_of, seen, news: bool) -> None:
    assert news == _is_news(as_of, seen)


# -- a dry run -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ttl", "age", "max_age", "said"),
    [
        (9.0, 0.0, None, "would hit: the answer in the shared store is fresh for another 9 s"),
        (9.0, 2.0, 2.0, "would hit: the answer in the shared store is fresh for another 9 s"),
        (9.0, 3.0, 2.0, "would miss: the answer in the shared store is too old for this call"),
        (0.0, 0.0, None, "would miss: the answer in the shared store expired 0 s ago"),
        (-4.0, 0.0, None, "would miss: the answer in the shared store expired 4 s ago"),
    ],
)
async def test_a_dry_run_says_what_the_store_would_answer(
    opened: Opened, clock: FakeClock, ttl: float, age: float, max_age: float | None, said: str
) -> None:
    context, call = opened.context, opened.call.evolve(max_age=max_age)
    nothing = "would miss: neither in memory nor in the shared store"
    assert nothing == await look_into_store(context, call)
    data = await opened.encoded(ttl=ttl, as_of=clock.time() - age)
    await context.shared.set(store_key(call), data)
    assert said == await look_into_store(context, call)
    await context.expire(["subject:AAPL"])
    assert "versions the answer in the shared store is stale" in await look_into_store(
        context, call
    )
    await context.shared.set(store_key(call), b"nonsense")
    assert "the answer in the shared store is refused" in await look_into_store(context, call)


# -- what commands see -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ttl", "change", "state", "useful"),
    [
        (9.0, None, "fresh", True),
        (0.0, None, "expired", True),
        (-1.0, None, "expired", True),
        (9.0, "expire", "stale", True),
        (9.0, "invalidate", "invalidated", False),
    ],
)
async def test_a_kept_answer_has_a_state(opened: Opened, ttl, change, state, useful) -> None:
    store, key = CacheStore(opened.argo), store_key(opened.call)
    assert KeptAnswer("absent") == await store.look(opened.call)
    data = await opened.encoded(ttl=ttl)
    await opened.context.shared.set(key, data)
    if change is not None:
        await getattr(opened.context, change)(["subject:AAPL"])
    found = await store.look(opened.call)
    assert (state, len(data), useful) == (found.state, found.size, found.is_useful)
    assert not KeptAnswer("undecodable", 5).is_useful


@pytest.mark.parametrize(("sample", "looked_at"), [(0, 0), (1, 1), (60, 60), (1_000, 121)])
async def test_everything_is_counted_and_a_sample_looked_at(opened, sample, looked_at) -> None:
    bytes_kept = len(b"nonsense")
    for number in range(120):
        key = f"argo:cache:{{bars:{number}}}"
        data = await opened.encoded(ttl=9.0, key=key)
        await opened.context.shared.set(key, data)
        bytes_kept += len(data)
    await opened.context.shared.set("argo:cache:{news:1}", b"nonsense")
    found = await CacheStore(opened.argo).stats(sample=sample)
    assert {"bars": 120, "news": 1} == found.entries
    assert looked_at == found.looked_at == sum(found.states.values())
    if sample > 121:
        assert bytes_kept == found.bytes
        assert {"fresh": 120, "undecodable": 1} == found.states


@pytest.mark.parametrize(
    ("pending", "said"),
    [(True, "nothing was invalidated"), (False, "stored, but other instances may not have heard")],
)
async def test_it_is_said_how_much_of_an_invalidation_was_done(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, pending: bool, said: str
) -> None:
    versions = opened.context.tag_versions

    async def refused(_: object) -> bool:
        return False

    monkeypatch.setattr(versions, "invalidate", refused)
    monkeypatch.setattr(type(versions), "pending", pending)
    with pytest.raises(SharedUnavailable, match=said):
        await CacheStore(opened.argo).invalidate(["op:bars"])


def test_many_keys_are_asked_for_in_parts() -> None:
    assert [["a", "b"], ["c"]] == list(_parts(["a", "b", "c"], 2))
    assert [["a", "b"]] == list(_parts(["a", "b"], 2))
    assert [] == list(_parts([], 2))
    assert "a:b" == _operation_of("argo:cache:{a:b:1234}")


# -- standing in -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "age", "stands_in"), [(1.0, 0.0, True), (0.0, 0.0, False), (1.0, 9.0, False)]
)
async def test_an_old_answer_stands_in_within_its_grace_and_the_age_that_is_accepted(
    opened: Opened, clock: FakeClock, left: float, age: float, stands_in: bool
) -> None:
    until = clock.monotonic() + left
    old = CacheEntry(
        Outcome("old", as_of=clock.time() - age),
        snapshot("old"),
        True,
        TagSnapshot((), 0, 0),
        Times(0.0, 0.0, until, 0.0),
    )
    cache = Cache(CacheConfig(), opened.context)
    assert stands_in == cache._may_stand_in(old, opened.call.evolve(max_age=5.0))
