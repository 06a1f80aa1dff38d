"""A store that reads and refuses writes, or carries no messages: what is served, and what is said."""

from __future__ import annotations

import asyncio
import random

import pytest
from attrs import define, field

from argo_mw import SharedUnavailable
from argo_mw.store import Ability, Freshness, Lease, TagVersions
from argo_mw.store.memory import MemoryShared
from argo_mw.store.memory_store import MemoryStore
from argo_mw.testing import FakeClock, RefusingStore, settle

FRESH, MISS = Freshness.FRESH, Freshness.MISS
READ, WRITE, HEAR, ANNOUNCE = Ability.READ, Ability.WRITE, Ability.HEAR, Ability.ANNOUNCE
FAULTS = {
    "all is well": (),
    "no writes": (WRITE,),
    "no channels": (HEAR, ANNOUNCE),
    "no subscribing": (HEAR,),
    "no publishing": (ANNOUNCE,),
    "no channels, no writes": (WRITE, HEAR, ANNOUNCE),
    "away": tuple(Ability),
}
TAGS = ("a", "b", "c")
SECONDS = 3.0
"""After so long, what is no longer refused is in use again."""


@define
class Process:
    """A process, its handle on the store, and what it was told to be wrong."""

    shared: RefusingStore
    versions: TagVersions
    troubles: list[str] = field(factory=list)

    async def ask(self, tag: str, kept: dict) -> bool:
        """Answer from what is kept for *tag*, else load and keep it; return whether that was a load."""
        snapshot = kept.get(tag)
        if snapshot is not None and await self.versions.check(snapshot) is FRESH:
            return False
        kept[tag] = await self.versions.load([tag])
        return True


@define
class Fleet:
    clock: FakeClock = field(factory=FakeClock)
    store: MemoryStore = field(factory=MemoryStore)
    processes: list[Process] = field(factory=list)

    async def join(self, refused=()):
        shared = RefusingStore(MemoryShared(self.store, clock=self.clock))
        shared.refuse(refused)
        process = Process(shared, TagVersions(shared, self.clock))
        process.versions.health.on_trouble = process.troubles.append
        await process.versions.start()
        self.processes.append(process)
        return process


@pytest.fixture
async def fleet():
    fleet = Fleet()
    yield fleet
    for process in fleet.processes:
        await process.versions.aclose()
        await process.shared.aclose()
    await settle()
    assert 0 == fleet.clock.pending


@pytest.mark.parametrize("fault", [f for f in FAULTS if f != "all is well"])
@pytest.mark.parametrize("when", ["before the start", "while it runs"])
async def test_equal_calls_load_once_and_one_trouble_says_why(fleet, fault, when):
    process = await fleet.join(FAULTS[fault] if when == "before the start" else ())
    await process.versions.load(["known before"])
    process.shared.refuse(FAULTS[fault])
    kept, loads = {}, 0
    for _ in range(60):
        for tag in ("a", "known before"):
            loads += await process.ask(tag, kept)
        await fleet.clock.advance(1.0)
    assert 2 == loads
    await process.versions.invalidate(["b"])
    await fleet.clock.advance(1.0)
    [trouble] = process.troubles
    assert "on purpose: let it" in trouble


@pytest.mark.parametrize("fault", [f for f in FAULTS if f != "all is well"])
async def test_each_outage_that_is_apart_from_the_last_is_reported(fleet, fault):
    process = await fleet.join()
    for outage in (1, 2):
        process.shared.refuse(FAULTS[fault])
        await process.versions.load([f"tag:{outage}"])
        await process.versions.invalidate(["a"])
        await fleet.clock.advance(30.0)
        assert outage == len(process.troubles)
        process.shared.refuse()
        await fleet.clock.advance(70.0)
        assert process.versions.connected


async def test_a_store_at_its_limits_is_reported_once_and_loses_nothing(fleet):
    """It refuses one write and takes the next."""
    process = await fleet.join()
    kept, loads = {}, 0
    for second in range(60):
        process.shared.refuse((WRITE,) if second % 2 else ())
        for tag in ("a", f"new:{second}"):
            loads += await process.ask(tag, kept)
        await fleet.clock.advance(1.0)
    assert 61 == loads
    assert 1 == len(process.troubles)


async def test_a_store_is_back_only_when_it_has_taken_a_write(fleet):
    process = await fleet.join()
    process.shared.refuse([WRITE])
    await process.versions.load(["a"])
    for _ in range(20):
        await fleet.clock.advance(1.0)
        assert not process.versions.usable
    process.shared.refuse()
    await fleet.clock.advance(SECONDS)
    assert process.versions.usable


async def test_what_was_loaded_while_writes_were_refused_stays_fresh_and_can_be_shared(fleet):
    here, there = await fleet.join(), await fleet.join()
    here.shared.refuse([WRITE])
    entry = await here.versions.load(["a"])
    here.shared.refuse()
    await fleet.clock.advance(SECONDS)
    assert FRESH is await here.versions.check(entry)
    assert FRESH is await there.versions.check(there.versions.adopt(entry.versions))
    await there.versions.invalidate(["a"])
    await settle()
    assert MISS is await here.versions.check(entry)


async def test_without_messages_versions_are_read_after_each_call_has_begun(fleet):
    here, there = await fleet.join([HEAR]), await fleet.join()
    entry = await here.versions.load(["a"])
    assert FRESH is await here.versions.check(entry)
    assert await there.versions.invalidate(["a"])
    assert MISS is await here.versions.check(entry)
    reads = here.shared.asked[READ]
    entry = await here.versions.load(["a"])
    for _ in range(5):
        assert FRESH is await here.versions.check(entry)
    assert 6 <= here.shared.asked[READ] - reads


async def test_without_messages_what_this_process_replaces_counts_at_once(fleet):
    here = await fleet.join([HEAR, WRITE])
    entry = await here.versions.load(["a"])
    assert not await here.versions.invalidate(["a"])
    assert MISS is await here.versions.check(entry)


async def test_a_tag_met_during_a_load_counts_without_messages_too(fleet):
    here, there = await fleet.join([HEAR]), await fleet.join()
    await there.versions.invalidate(["known", "replaced"])
    await here.versions.load(["known", "replaced"])
    entry = await here.versions.load(["a"])
    await there.versions.invalidate(["replaced"])
    kept = await here.versions.extend(entry, ["known"])
    lost = await here.versions.extend(entry, ["replaced"])
    assert ((), ("replaced",)) == (kept.unknown, lost.unknown)
    assert FRESH is await here.versions.check(kept)
    assert MISS is await here.versions.check(lost)


async def test_what_was_read_while_messages_were_missing_counts_for_nothing_without_the_store(
    fleet, monkeypatch
):
    """It may have been replaced unheard, also before the store was tried again."""
    here, there = await fleet.join(), await fleet.join()
    await here.versions.load(["c"])
    monkeypatch.setattr(here.shared, "get", lambda key: asyncio.Event().wait())  # as it is tried
    here.shared.refuse([HEAR])
    entry = await here.versions.load(["a"])
    await there.versions.invalidate(["a"])
    here.shared.refuse(Ability)
    await here.versions.load(["b"])
    assert MISS is await here.versions.check(entry)


async def test_what_was_mirrored_counts_for_nothing_once_a_store_was_there_and_its_messages_were_not(
    fleet,
):
    """Others may have used it too, though this process has asked it for nothing then."""
    here, there = await fleet.join(), await fleet.join()
    entry = await here.versions.load(["a"])
    here.shared.refuse([HEAR])
    await fleet.clock.advance(SECONDS)
    await there.versions.invalidate(["a"])
    here.shared.refuse(Ability)
    await here.versions.load(["b"])
    assert not here.versions.usable
    assert MISS is await here.versions.check(entry)


async def test_what_is_read_once_messages_arrive_again_counts_without_the_store(fleet, monkeypatch):
    """That they were missing is over with the gap, also before the store was tried again."""
    here = await fleet.join()
    monkeypatch.setattr(here.shared, "get", lambda key: asyncio.Event().wait())  # as it is tried
    here.shared.refuse([HEAR])
    await here.versions.load(["a"])
    assert not here.versions.connected
    here.shared.refuse()
    assert here.versions.connected
    entry = await here.versions.load(["a"])
    assert FRESH is here.versions.peek(entry)
    here.shared.refuse(Ability)
    await here.versions.load(["b"])
    assert not here.versions.usable
    assert FRESH is await here.versions.check(entry)


async def test_what_is_read_once_a_process_can_listen_counts_without_the_store(fleet):
    """What was unheard before that was forgotten then."""
    here = await fleet.join([HEAR])
    await here.versions.load(["a"])
    here.shared.refuse()
    await fleet.clock.advance(SECONDS)
    assert here.versions.connected
    entry = await here.versions.load(["a"])
    here.shared.refuse(Ability)
    await here.versions.load(["b"])
    assert not here.versions.usable
    assert FRESH is await here.versions.check(entry)


async def test_a_store_without_messages_that_takes_what_waits_takes_writes(fleet):
    """What cannot be announced says nothing about what can be stored."""
    process = await fleet.join([ANNOUNCE])
    await process.versions.invalidate(["a"])
    stored = await process.shared.get("tag:h:a")
    process.shared.refuse([ANNOUNCE, HEAR])
    process.shared.refuse([ANNOUNCE])  # which is a gap: what was replaced lately is replaced again
    assert 1 == process.versions.pending
    await settle()
    assert stored != await process.shared.get("tag:h:a")
    assert (0, 1) == (process.versions.pending, process.versions.unannounced)
    assert {ANNOUNCE} == {*process.versions.health.refused}


async def test_an_invalidation_says_whether_others_hear_of_it(fleet):
    for fault, refused in FAULTS.items():
        process = await fleet.join(refused)
        heard = not {WRITE, ANNOUNCE} & {*refused}
        assert heard is await process.versions.invalidate(["a"]), fault


async def test_what_was_not_announced_is_stored_once_and_announced_later(fleet):
    here, there = await fleet.join([ANNOUNCE]), await fleet.join()
    entry = await there.versions.load(["a"])
    assert not await here.versions.invalidate(["a"])
    stored = await there.shared.get("tag:h:a")
    await fleet.clock.advance(30.0)
    assert stored == await there.shared.get("tag:h:a")
    assert (0, 1) == (here.versions.pending, here.versions.unannounced)
    here.shared.refuse()
    await fleet.clock.advance(SECONDS)
    assert MISS is await there.versions.check(entry)
    assert 0 == here.versions.unannounced


def cut_off(process):
    """Return whether it can neither read nor hear, so that it goes on with what it knows."""
    known = process.versions.health
    return all(one in process.shared.refused or not known.allows(one) for one in (READ, HEAR))


class Oracle:
    """Three processes that load, share and invalidate, and what an entry must not outlive."""

    def __init__(self, fleet: Fleet, rng: random.Random) -> None:
        self.fleet, self.rng, self.tick = fleet, rng, 0
        self.floors = {(number, tag): 0 for number in range(3) for tag in TAGS}
        self.unheard = {}
        self.entries = []

    async def load(self, process):
        tag, began = self.rng.choice(TAGS), self.tick
        late = self.rng.random() < 0.3
        snapshot = await process.versions.load([] if late else [tag])
        if late:
            snapshot = await process.versions.extend(snapshot, [tag])
        self.entries.append((snapshot.versions, tag, began))

    async def invalidate(self, process):
        tag = self.rng.choice(TAGS)
        everywhere = await process.versions.invalidate([tag])
        for number, other in enumerate(self.fleet.processes):
            if other is process or (everywhere and not cut_off(other)):
                self.floors[number, tag] = self.tick
            elif everywhere:
                self.unheard[number, tag] = self.tick

    async def disturb(self, process):
        process.shared.refuse(self.rng.choice([*FAULTS.values()]))

    async def step(self):
        self.tick += 1
        act = self.rng.choices([self.load, self.invalidate, self.disturb], [6, 3, 1])[0]
        await act(self.rng.choice(self.fleet.processes))
        await settle()

    async def mend(self):
        for process in self.fleet.processes:
            process.shared.refuse()
        await self.fleet.clock.advance(SECONDS)
        self.tick += 1
        for tag in TAGS:
            newest = max(self.floors[number, tag] for number in range(3))
            self.floors.update({(number, tag): newest for number in range(3)})

    async def check(self):
        for number, process in enumerate(self.fleet.processes):
            if not cut_off(process):
                heard = {one for one in self.unheard if one[0] == number}
                self.floors.update({one: self.unheard.pop(one) for one in heard})
            for versions, tag, began in self.entries:
                verdict = await process.versions.check(process.versions.adopt(versions))
                assert verdict is not FRESH or began > self.floors[number, tag]


@pytest.mark.parametrize("seed", range(100))
async def test_no_fault_serves_what_an_invalidation_has_reached(fleet, seed):
    """Whatever is refused, to whom, and in which order.

    An entry must not be fresh in the process that has invalidated its tag since; nor in any other
    that is not cut off, if the invalidation said that others hear of it; nor anywhere, once nothing
    is refused any more.
    """
    rng = random.Random(seed)
    oracle = Oracle(fleet, rng)
    for _ in range(3):
        await fleet.join(rng.choice([*FAULTS.values()]))
    for _ in range(40):
        for _ in range(rng.randrange(1, 5)):
            await oracle.step()
        await oracle.check()
        if rng.random() < 0.2:
            await oracle.mend()
            await oracle.check()
    await oracle.mend()
    await oracle.check()


async def test_the_lease_that_tried_the_store_is_given_back_though_it_went_away_in_between() -> (
    None
):
    class Flickering(MemoryShared):
        away = True

        async def release(self, lease: Lease) -> bool:
            if self.away:
                raise SharedUnavailable
            return await super().release(lease)

    clock = FakeClock()
    data = MemoryStore()
    shared = Flickering(data, clock=clock)
    versions = TagVersions(shared, clock)
    assert Ability.LEASE in await versions.health.check()
    shared.away = False
    assert Ability.LEASE not in await versions.health.check()
    assert {} == data.leases
    await versions.aclose()
