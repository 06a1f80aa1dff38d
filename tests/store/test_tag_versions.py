"""An entry is fresh until any process invalidates or expires one of its tags."""

from __future__ import annotations

import asyncio
import random

import pytest
from attrs import define, field

from argo_mw.base.errors import BadParameter, SharedUnavailable
from argo_mw.store.health import Ability
from argo_mw.store.memory import MemoryShared
from argo_mw.store.memory_store import MemoryStore
from argo_mw.store.tag_snapshot import EVERYTHING, Freshness
from argo_mw.store.tag_versions import TagVersions
from argo_mw.testing.clock import FakeClock, settle

FRESH, STALE, MISS, UNKNOWN = Freshness


class Unreliable(MemoryShared):
    """A handle that can lose its store, and hold back its answers."""

    def __init__(self, store, clock):
        super().__init__(store, clock=clock)
        self.down = False
        self.calls = []
        self.hold = {}
        self.listeners = []

    async def _pass(self, what):
        self.calls.append(what)
        if what in self.hold:
            await self.hold[what].wait()
        if self.down:
            msg = "the store is down"
            raise SharedUnavailable(msg)

    async def get(self, key):
        await self._pass("get")
        return await super().get(key)

    async def get_many(self, keys):
        found = await super().get_many(keys)
        await self._pass("get_many")
        return found

    async def set_many(self, items, *, ttl=None):
        await self._pass("set_many")
        await super().set_many(items, ttl=ttl)

    async def compare_and_set(self, key, expected, value, *, ttl=None):
        await self._pass("compare_and_set")
        return await super().compare_and_set(key, expected, value, ttl=ttl)

    async def create_many(self, items, *, ttl=None):
        found = await super().create_many(items, ttl=ttl)
        await self._pass("create_many")
        return found

    async def acquire(self, key, *, ttl):
        await self._pass("acquire")
        return await super().acquire(key, ttl=ttl)

    async def publish(self, channel, message):
        await self._pass("publish")
        await super().publish(channel, message)

    async def subscribe(self, channel, on_message, on_gap, *, on_lost=None):
        await self._pass("subscribe")
        self.listeners.append((on_message, on_gap))
        return await super().subscribe(channel, on_message, on_gap)

    def gap(self):
        for _, on_gap in self.listeners:
            on_gap()


@define
class Process:
    """A process with a handle on the store and its tag versions."""

    shared: Unreliable
    tag_versions: TagVersions


@define
class Fleet:
    clock: FakeClock = field(factory=FakeClock)
    store: MemoryStore = field(factory=MemoryStore)
    processes: list[Process] = field(factory=list)

    async def join(self, *, down=False, **options):
        shared = Unreliable(self.store, self.clock)
        shared.down = down
        process = Process(shared, TagVersions(shared, self.clock, **options))
        await process.tag_versions.start()
        self.processes.append(process)
        return process


@pytest.fixture
async def fleet():
    fleet = Fleet()
    yield fleet
    for process in fleet.processes:
        await process.tag_versions.aclose()
        await process.shared.aclose()
    await settle()
    assert fleet.clock.pending == 0


@pytest.fixture
async def here(fleet):
    return await fleet.join()


@pytest.fixture
async def there(fleet):
    return await fleet.join()


async def test_an_entry_is_fresh_until_its_tag_is_invalidated(here):
    entry = await here.tag_versions.load(["op:bars", "subject:AAPL"])
    assert FRESH is here.tag_versions.peek(entry)
    assert await here.tag_versions.invalidate(["subject:MSFT"])
    assert FRESH is here.tag_versions.peek(entry)
    assert await here.tag_versions.invalidate(["subject:AAPL"])
    assert MISS is here.tag_versions.peek(entry)
    assert FRESH is here.tag_versions.peek(await here.tag_versions.load(["subject:AAPL"]))


async def test_an_expired_entry_is_stale_and_an_invalidated_one_a_miss(here):
    entry = await here.tag_versions.load(["a", "b"])
    await here.tag_versions.expire(["a"])
    assert STALE is here.tag_versions.peek(entry)
    await here.tag_versions.invalidate(["b"])
    assert MISS is here.tag_versions.peek(entry)


async def test_invalidating_everything_makes_every_entry_a_miss(here, there):
    entries = [await here.tag_versions.load([f"tag:{n}"]) for n in range(3)]
    await there.tag_versions.invalidate([EVERYTHING])
    await settle()
    assert [await here.tag_versions.check(entry) for entry in entries] == [MISS] * 3


async def test_a_process_sees_its_own_invalidation_before_the_store_has_answered(here):
    entry = await here.tag_versions.load(["a"])
    here.shared.hold["set_many"] = asyncio.Event()
    invalidating = asyncio.ensure_future(here.tag_versions.invalidate(["a"]))
    await asyncio.sleep(0)
    assert MISS is here.tag_versions.peek(entry)
    here.shared.hold.pop("set_many").set()
    assert await invalidating


async def test_another_process_sees_an_invalidation_when_its_message_arrives(here, there):
    entry = await here.tag_versions.load(["a", "b"])
    await there.tag_versions.invalidate(["a"])
    await settle()
    assert UNKNOWN is here.tag_versions.peek(entry)
    assert MISS is await here.tag_versions.check(entry)
    assert MISS is here.tag_versions.peek(entry)


async def test_another_process_sees_an_expiry(here, there):
    entry = await here.tag_versions.load(["a"])
    await there.tag_versions.expire(["a"])
    await settle()
    assert STALE is await here.tag_versions.check(entry)


async def test_a_load_that_began_before_an_invalidation_never_outlives_it(here, there):
    entry = await here.tag_versions.load(["a"])
    await there.tag_versions.invalidate(
        ["a"]
    )  # while the value is loaded; the message is on its way
    await settle()
    assert MISS is await here.tag_versions.check(entry)
    adopted = there.tag_versions.adopt(entry.versions)
    assert MISS is await there.tag_versions.check(adopted)


async def test_a_version_read_while_a_message_arrives_is_not_mirrored(here, there):
    """The answer may be older than the message."""
    await there.tag_versions.load(["a"])
    here.shared.hold["get_many"] = asyncio.Event()
    loading = asyncio.ensure_future(here.tag_versions.load(["a"]))
    await settle()  # the store has answered, the answer is under way
    await there.tag_versions.invalidate(["a"])
    await settle()
    here.shared.hold.pop("get_many").set()
    entry = await loading
    assert UNKNOWN is here.tag_versions.peek(entry)
    assert MISS is await here.tag_versions.check(entry)


async def test_an_adopted_entry_is_checked_against_the_store(here, there):
    entry = await here.tag_versions.load(["a", "b"])
    plain = [list(version) for version in entry.versions]
    assert FRESH is await there.tag_versions.check(there.tag_versions.adopt(plain))
    await here.tag_versions.invalidate(["b"])
    await settle()
    assert MISS is await there.tag_versions.check(there.tag_versions.adopt(plain))


async def test_a_look_says_what_a_check_would_and_learns_nothing(here, there):
    adopted = there.tag_versions.adopt((await here.tag_versions.load(["a", "b"])).versions)

    async def look():
        there.shared.calls.clear()
        verdict = await there.tag_versions.look(adopted)
        assert ["get_many"] == there.shared.calls
        assert UNKNOWN is there.tag_versions.peek(adopted)
        return verdict

    assert FRESH is await look()
    await here.tag_versions.expire(["a"])
    await settle()
    assert STALE is await look()
    await here.tag_versions.invalidate(["b"])
    await settle()
    assert MISS is await look()


@pytest.mark.parametrize("version", [b"\0" * 8, b"\xff" * 8, None])
@pytest.mark.parametrize(("kind", "verdict"), [("h", MISS), ("s", STALE)])
async def test_a_look_knows_a_version_by_its_being_another_or_lost(
    here, there, kind, verdict, version
):
    adopted = there.tag_versions.adopt((await here.tag_versions.load(["a"])).versions)
    await here.shared.delete([f"tag:{kind}:a"])
    if version is not None:
        await here.shared.set(f"tag:{kind}:a", version)
    assert verdict is await there.tag_versions.look(adopted)


async def test_a_look_at_what_is_mirrored_asks_nobody(here):
    entry = await here.tag_versions.load(["a"])
    here.shared.calls.clear()
    assert FRESH is await here.tag_versions.look(entry)
    await here.tag_versions.expire(["a"])
    here.shared.calls.clear()
    assert STALE is await here.tag_versions.look(entry)
    assert [] == here.shared.calls


async def test_a_look_knows_replacements_that_the_store_has_not_taken(here, there):
    adopted = there.tag_versions.adopt((await here.tag_versions.load(["a"])).versions)
    there.shared.hold["set_many"] = asyncio.Event()
    expiring = asyncio.ensure_future(there.tag_versions.expire(["a"]))
    await settle()
    assert STALE is await there.tag_versions.look(adopted)
    there.shared.hold.pop("set_many").set()
    await expiring


@pytest.mark.parametrize(
    "versions",
    [[], [1], [["a", b"", b""]], [[EVERYTHING, "x", b""]], [[EVERYTHING, b"x"]]],
    ids=repr,
)
async def test_malformed_versions_are_refused(here, versions):
    with pytest.raises(ValueError, match="tag"):
        here.tag_versions.adopt(versions)


async def test_versions_from_the_store_are_taken_up_again_after_a_gap_alone(here, there):
    """What was adopted before it is a miss, whatever the store says now."""
    stored = (await there.tag_versions.load(["a"])).versions
    adopted = here.tag_versions.adopt(stored)
    assert adopted is here.tag_versions.renew(adopted)
    here.shared.gap()
    assert MISS is here.tag_versions.peek(adopted)
    renewed = here.tag_versions.renew(adopted)
    assert renewed is not adopted
    assert stored == renewed.versions
    assert MISS is not here.tag_versions.peek(renewed)


async def test_a_lost_version_counts_as_changed(fleet, here, there):
    entry = await here.tag_versions.load(["a"])
    await here.shared.delete(await here.shared.scan("tag:h:a"))
    newcomer = await fleet.join()
    assert MISS is await newcomer.tag_versions.check(newcomer.tag_versions.adopt(entry.versions))
    await fleet.clock.advance(0.1)
    assert MISS is await here.tag_versions.check(entry)


async def test_a_gap_makes_every_entry_a_miss(here):
    entry = await here.tag_versions.load(["a"])
    here.shared.gap()
    assert MISS is here.tag_versions.peek(entry)
    assert FRESH is here.tag_versions.peek(await here.tag_versions.load(["a"]))


async def test_a_malformed_message_counts_as_a_gap(here, there):
    for malformed in (b"\xff", b"[]", b"{}", b'["x", 5]', b'["x", "colour"]', b"null"):
        entry = await here.tag_versions.load(["a"])
        await there.shared.publish("tag-versions", malformed)
        await settle()
        assert MISS is here.tag_versions.peek(entry), malformed


async def test_tags_invalidated_shortly_before_a_gap_are_invalidated_again(fleet, here, there):
    """A server that failed over may have forgotten the new version, and kept an old entry."""
    old = await here.tag_versions.load(["a"])
    before = {key: await here.shared.get(key) for key in await here.shared.scan("tag:")}
    await here.tag_versions.invalidate(["a"])
    await settle()
    for process in (here, there):
        await process.shared.set("tag:h:a", before["tag:h:a"])
        process.shared.gap()
    await settle()
    for process in (here, there, await fleet.join()):
        assert MISS is await process.tag_versions.check(process.tag_versions.adopt(old.versions))


async def test_tags_are_invalidated_again_though_a_gap_comes_while_the_store_is_tried(fleet, here):
    """A try that is past its writes does not store them; what it finds well is not the end of it."""
    await here.tag_versions.load(["a"])
    await here.tag_versions.invalidate(["a"])
    version = await here.shared.get("tag:h:a")
    here.shared.hold["acquire"] = asyncio.Event()
    here.tag_versions.health.look()
    await settle()
    here.shared.gap()
    assert here.tag_versions.pending
    here.shared.hold.pop("acquire").set()
    await fleet.clock.advance(1.0)
    assert not here.tag_versions.pending
    assert version != await here.shared.get("tag:h:a")


async def test_tags_invalidated_long_before_a_gap_are_not_invalidated_again(fleet, here):
    await here.tag_versions.load(["a"])
    await here.tag_versions.invalidate(["a"])
    version = await here.shared.get("tag:h:a")
    await fleet.clock.advance(3600)
    here.shared.gap()
    await settle()
    assert version == await here.shared.get("tag:h:a")


# -- without the store -----------------------------------------------------------------------


async def test_without_the_store_entries_stay_fresh_and_invalidations_hold_in_their_process(here):
    entry = await here.tag_versions.load(["a", "b"])
    here.shared.down = True
    assert FRESH is here.tag_versions.peek(entry)
    assert not await here.tag_versions.invalidate(["a"])
    assert MISS is here.tag_versions.peek(entry)
    assert here.tag_versions.pending == 1
    assert not here.tag_versions.connected


async def test_entries_made_without_the_store_are_misses_when_it_is_back(fleet, here):
    kept = await here.tag_versions.load(["b"])
    here.shared.down = True
    entry = await here.tag_versions.load(["a"])
    assert FRESH is here.tag_versions.peek(entry)
    here.shared.down = False
    await fleet.clock.advance(1)
    assert here.tag_versions.connected
    assert MISS is await here.tag_versions.check(entry)
    assert FRESH is await here.tag_versions.check(kept)


async def test_an_invalidation_made_without_the_store_reaches_all_processes_later(
    fleet, here, there
):
    entry = await here.tag_versions.load(["a"])
    theirs = there.tag_versions.adopt(entry.versions)
    assert FRESH is await there.tag_versions.check(theirs)
    here.shared.down = True
    await here.tag_versions.invalidate(["a"])
    await here.tag_versions.invalidate(["a"])
    await fleet.clock.advance(60)
    assert FRESH is await there.tag_versions.check(theirs)
    here.shared.down = False
    await fleet.clock.advance(1)
    assert here.tag_versions.pending == 0
    assert MISS is await there.tag_versions.check(theirs)
    assert MISS is await there.tag_versions.check(there.tag_versions.adopt(entry.versions))


async def test_a_pending_invalidation_takes_precedence_over_the_stores_versions(here):
    old = await here.tag_versions.load(["a"])
    here.shared.hold["set_many"] = asyncio.Event()
    here.shared.gap()  # the mirror is empty now
    invalidating = asyncio.ensure_future(here.tag_versions.invalidate(["a"]))
    await settle()
    assert MISS is await here.tag_versions.check(here.tag_versions.adopt(old.versions))
    here.shared.hold.pop("set_many").set()
    await invalidating


async def test_a_pending_invalidation_hides_no_invalidation_by_another_process(here, there):
    await here.tag_versions.load(["A"])
    here.shared.down = True
    await here.tag_versions.invalidate(["A"])
    entry = await here.tag_versions.load(["A"])
    await there.tag_versions.invalidate(["A"])
    await settle()
    here.shared.down = False
    await here.tag_versions.load(["A"])
    assert MISS == here.tag_versions.peek(entry)


async def test_a_pending_invalidation_hides_no_gap(here, there):
    await here.tag_versions.load(["A"])
    here.shared.down = True
    await here.tag_versions.invalidate(["A"])
    versions = (await here.tag_versions.load(["A"])).versions
    here.shared.gap()
    here.shared.down = False
    await here.tag_versions.load(["A"])
    assert MISS == await here.tag_versions.check(here.tag_versions.adopt(versions))


async def test_an_invalidation_is_repeated_if_its_message_could_not_be_sent(fleet, here, there):
    entry = await there.tag_versions.load(["a"])
    publish = here.shared.publish

    async def fail(channel, message):
        raise SharedUnavailable

    here.shared.publish = fail
    assert not await here.tag_versions.invalidate(["a"])
    here.shared.publish = publish
    await fleet.clock.advance(1)
    assert MISS is await there.tag_versions.check(entry)


async def test_the_try_that_finds_the_store_back_stores_what_waits(fleet, here):
    here.shared.down = True
    await here.tag_versions.invalidate(["a"])
    await fleet.clock.advance(1)
    assert 1 == here.tag_versions.pending
    here.shared.down = False
    here.shared.calls.clear()
    await fleet.clock.advance(10)
    assert [1, 1] == [here.shared.calls.count(one) for one in ("compare_and_set", "set_many")]
    assert here.tag_versions.connected
    assert 0 == here.tag_versions.pending


async def test_a_store_that_takes_a_small_write_and_not_what_waits_is_not_back(
    fleet, here, monkeypatch
):
    """A store whose memory is full may have room for the one and none for the other."""

    async def full(items, *, ttl=None):
        msg = "no memory is left"
        raise SharedUnavailable(msg)

    with monkeypatch.context() as patched:
        patched.setattr(here.shared, "set_many", full)
        await here.tag_versions.invalidate(["a"])
        here.shared.calls.clear()
        for _ in range(5):
            await fleet.clock.advance(1)
            assert {Ability.WRITE: "no memory is left"} == here.tag_versions.health.refused
        assert here.shared.calls.count("compare_and_set") > 1
        assert 1 == here.tag_versions.pending
    await fleet.clock.advance(1)
    assert (0, True) == (here.tag_versions.pending, here.tag_versions.usable)


async def test_a_try_of_a_store_stores_nothing_where_nothing_waits(fleet, here):
    here.tag_versions.health.look()
    await settle()
    assert 1 == here.shared.calls.count("compare_and_set")
    assert 0 == here.shared.calls.count("set_many")


async def test_too_many_pending_invalidations_become_an_invalidation_of_everything(fleet):
    process = await fleet.join(max_pending=10)
    other = await fleet.join()
    entry = await other.tag_versions.load(["unrelated"])
    process.shared.down = True
    await process.tag_versions.invalidate([f"tag:{n}" for n in range(11)])
    assert process.tag_versions.pending == 1
    process.shared.down = False
    await fleet.clock.advance(1)
    assert MISS is await other.tag_versions.check(entry)


async def test_a_process_started_without_the_store_listens_once_it_is_there(fleet, there):
    process = await fleet.join(down=True)
    entry = await process.tag_versions.load(["a"])
    assert FRESH is process.tag_versions.peek(entry)
    process.shared.down = False
    await fleet.clock.advance(1)
    entry = await process.tag_versions.load(["a"])
    await there.tag_versions.invalidate(["a"])
    await settle()
    assert MISS is await process.tag_versions.check(entry)


async def test_an_entry_with_unknown_versions_is_a_miss_while_the_store_is_down(here, there):
    entry = await here.tag_versions.load(["a"])
    await there.tag_versions.expire(["a"])
    await settle()
    here.shared.down = True
    assert UNKNOWN is here.tag_versions.peek(entry)
    assert MISS is await here.tag_versions.check(entry)


# -- callers ---------------------------------------------------------------------------------


async def test_cancelling_a_caller_does_not_cancel_its_invalidation(here, there):
    entry = await there.tag_versions.load(["a"])
    here.shared.hold["set_many"] = asyncio.Event()
    caller = asyncio.ensure_future(here.tag_versions.invalidate(["a"]))
    await settle()
    caller.cancel()
    await settle()
    here.shared.hold.pop("set_many").set()
    await settle()
    assert MISS is await there.tag_versions.check(entry)


async def test_invalidations_of_one_turn_share_a_command(here):
    await asyncio.gather(*(here.tag_versions.invalidate([f"tag:{n}"]) for n in range(50)))
    assert here.shared.calls.count("set_many") == 1
    assert here.shared.calls.count("publish") == 1


async def test_overlapping_reads_are_mirrored(here):
    """Otherwise a tag in constant use would never be mirrored again after a gap."""
    first, second = asyncio.Event(), asyncio.Event()
    here.shared.hold["get_many"] = first
    one = asyncio.ensure_future(here.tag_versions.load(["a"]))
    await settle()
    here.shared.hold["get_many"] = second
    other = asyncio.ensure_future(here.tag_versions.load(["a"]))
    await settle()
    first.set()
    assert FRESH is here.tag_versions.peek(await one)
    second.set()
    assert FRESH is here.tag_versions.peek(await other)


async def test_mirrored_tags_are_not_read_again(here):
    await here.tag_versions.load(["a", "b"])
    here.shared.calls.clear()
    for _ in range(3):
        entry = await here.tag_versions.load(["b", "a"])
        assert FRESH is await here.tag_versions.check(entry)
    assert here.shared.calls == []


async def test_beside_tags_that_are_mirrored_only_the_others_are_read(here, monkeypatch):
    await here.tag_versions.load(["a"])
    asked = []
    create_many = here.shared.create_many

    async def create(items, *, ttl=None):
        asked.append(sorted(items))
        return await create_many(items, ttl=ttl)

    monkeypatch.setattr(here.shared, "create_many", create)
    entry = await here.tag_versions.load(["a", "b"])
    assert FRESH is here.tag_versions.peek(entry)
    assert [["tag:h:b", "tag:s:b"]] == asked


async def test_a_check_reads_only_the_tags_that_are_not_mirrored(here, there):
    await here.tag_versions.load(["a"])
    adopted = here.tag_versions.adopt((await there.tag_versions.load(["a", "b"])).versions)
    here.shared.calls.clear()
    assert FRESH is await here.tag_versions.check(adopted)
    assert ["create_many"] == here.shared.calls


async def test_a_ban_holds_for_entries_of_its_tags_alone_until_the_next(here):
    banned, other = [await here.tag_versions.load([tag]) for tag in ("a", "b")]
    here.tag_versions.ban(["a"])
    assert (MISS, FRESH) == (here.tag_versions.peek(banned), here.tag_versions.peek(other))
    here.tag_versions.ban(["b"])
    assert (FRESH, MISS) == (here.tag_versions.peek(banned), here.tag_versions.peek(other))


@pytest.mark.parametrize("replace", ["invalidate", "expire"])
async def test_a_tag_added_during_a_load_makes_a_miss_unless_it_was_mirrored(here, there, replace):
    await getattr(there.tag_versions, replace)(["replaced", "known"])
    await here.tag_versions.load(["known"])
    entry = await here.tag_versions.load(["a"])
    assert FRESH is here.tag_versions.peek(await here.tag_versions.extend(entry, ["known"]))
    extended = await here.tag_versions.extend(entry, ["replaced"])
    assert MISS is here.tag_versions.peek(extended)
    assert ("replaced",) == extended.unknown
    entry = await here.tag_versions.load(["a"])
    assert FRESH is here.tag_versions.peek(await here.tag_versions.extend(entry, ["replaced", "a"]))
    await there.tag_versions.invalidate(["replaced"])
    await settle()
    assert MISS is here.tag_versions.peek(await here.tag_versions.extend(entry, ["replaced"]))


@pytest.mark.parametrize("first", ["here", "there"])
async def test_a_tag_that_was_never_replaced_can_be_added_during_a_load(here, there, first):
    entry = await here.tag_versions.load(["a"])
    if first == "there":
        await there.tag_versions.load(["new"])
    extended = await here.tag_versions.extend(entry, ["new"])
    assert FRESH is here.tag_versions.peek(extended)
    assert () == extended.unknown
    await there.tag_versions.invalidate(["new"])
    await settle()
    assert MISS is await here.tag_versions.check(extended)


async def test_a_tag_added_while_the_store_is_down_makes_a_miss(here):
    entry = await here.tag_versions.load(["a"])
    here.shared.down = True
    assert MISS is here.tag_versions.peek(await here.tag_versions.extend(entry, ["new"]))


async def test_versions_that_were_recorded_on_the_way_count_whenever_they_were_mirrored(
    here, there
):
    await there.tag_versions.expire(["price"])
    entry = await here.tag_versions.load(["signal"])
    nested = await here.tag_versions.load(["price"])
    extended = await here.tag_versions.extend(entry, ["price"], nested.versions)
    assert FRESH is here.tag_versions.peek(extended)
    await there.tag_versions.expire(["price"])
    await settle()
    assert STALE is await here.tag_versions.check(extended)


async def test_a_tag_that_was_recorded_twice_and_replaced_in_between_makes_a_miss(here):
    entry = await here.tag_versions.load(["signal"])
    before = await here.tag_versions.load(["price"])
    await here.tag_versions.invalidate(["price"])
    after = await here.tag_versions.load(["price"])
    for recorded in (before, after), (after, before):
        versions = [version for one in recorded for version in one.versions]
        assert MISS is here.tag_versions.peek(
            await here.tag_versions.extend(entry, ["price"], versions)
        )


@pytest.mark.parametrize("odd", ["\ud800", "a\udfffb" * 300, "é" * 300, "\0", "x" * 10_000])
async def test_a_tag_that_no_key_can_hold_is_like_any_other(here, there, odd):
    here, there = here.tag_versions, there.tag_versions
    here.prefetch({odd})
    one, other = await here.load([odd]), await there.load(["AAPL"])
    assert await there.check(one) is FRESH
    assert await here.invalidate([odd])
    await settle()
    assert await there.check(one) is MISS
    assert await there.check(other) is FRESH
    assert await here.invalidate(["AAPL"])  # which nothing has held up
    await settle()
    assert await there.check(other) is MISS


async def test_long_tags_are_kept_by_digest(here, there):
    tag = "prompt:" + "ü" * 1000
    entry = await here.tag_versions.load([tag])
    await there.tag_versions.invalidate([tag])
    await settle()
    assert MISS is await here.tag_versions.check(entry)


@pytest.mark.parametrize("tags", ["text", [""], [5], [None]], ids=repr)
async def test_malformed_tags_are_refused(here, tags):
    with pytest.raises(BadParameter):
        await here.tag_versions.load(tags)
    with pytest.raises(BadParameter):
        await here.tag_versions.invalidate(tags)


async def test_on_change_receives_the_names_of_changed_tags(fleet, there):
    seen = []
    process = await fleet.join(on_change=seen.append)
    await process.tag_versions.invalidate(["mine"])
    await there.tag_versions.invalidate(["theirs"])
    await settle()
    process.shared.gap()
    assert [{"mine"}, {"theirs"}, {EVERYTHING}] == seen


async def test_the_mirror_is_bounded_and_hides_no_change_of_forgotten_tags(fleet, there):
    process = await fleet.join(max_tags=10)
    entries = [await process.tag_versions.load([f"tag:{n}"]) for n in range(30)]
    await there.tag_versions.invalidate(["tag:3"])
    await settle()
    expected = [MISS if n == 3 else FRESH for n in range(30)]
    assert expected == [await process.tag_versions.check(entry) for entry in entries]
    assert len(process.tag_versions._mirror) <= 10


async def test_a_second_peek_compares_no_versions_until_something_changes(here, monkeypatch):
    """It is on the path of every hit in memory."""
    entry = await here.tag_versions.load(["op:bars", "subject:AAPL", "layer:race"])
    assert here.tag_versions.peek(entry) is FRESH
    compared = []
    compare = here.tag_versions._mirror.compare
    monkeypatch.setattr(
        here.tag_versions._mirror, "compare", lambda e: compared.append(e) or compare(e)
    )
    assert here.tag_versions.peek(entry) is FRESH
    assert compared == []
    await here.tag_versions.invalidate(["op:news"])
    assert here.tag_versions.peek(entry) is FRESH
    assert compared == [entry]


@pytest.mark.parametrize("seed", range(40))
async def test_no_interleaving_serves_an_invalidated_entry(seed):  # noqa: C901
    """Three processes load, share and invalidate at random; the store and messages come and go.

    The oracle is a version per tag. In a process that has received all messages, an entry must not
    be fresh once the version of its tag has grown since the entry's load began.
    """
    rng = random.Random(seed)
    fleet = Fleet()
    processes = [await fleet.join(max_tags=rng.choice([3, 100])) for _ in range(3)]
    tags = ["a", "b", "c"]
    versions = dict.fromkeys(tags, 0)
    entries = []  # (versions, tag, version at load start, whether it was made while the store was down)

    async def load(process):
        tag = rng.choice(tags)
        late = rng.random() < 0.5
        tag_snapshot = await process.tag_versions.load([] if late else [tag])
        version = versions[tag]
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
        if late:
            recorded = ()
            if rng.random() < 0.5:
                recorded = (await process.tag_versions.load([tag])).versions
                version = versions[tag]
                await asyncio.sleep(0)
            tag_snapshot = await process.tag_versions.extend(tag_snapshot, [tag], recorded)
        entries.append((tag_snapshot.versions, tag, version))

    async def invalidate(process):
        tag = rng.choice(tags)
        versions[tag] += 1
        await process.tag_versions.invalidate([tag])

    async def disturb(process):
        what = rng.randrange(4)
        if what == 0:
            process.shared.down = True
        elif what == 1:
            process.shared.down = False
        elif what == 2:
            process.shared.gap()
        else:
            event = process.shared.hold.setdefault("get_many", asyncio.Event())
            asyncio.get_running_loop().call_later(0, event.set)
            await event.wait()
            process.shared.hold.pop("get_many", None)

    for _ in range(30):
        actions = rng.choices([load, invalidate, disturb], [5, 3, 1], k=rng.randrange(1, 6))
        running = [asyncio.ensure_future(act(rng.choice(processes))) for act in actions]
        await asyncio.gather(*running)
        if rng.random() < 0.3:
            for process in processes:
                process.shared.down = False
            await fleet.clock.advance(1)
            for process in processes:
                for kept, tag, version in entries:
                    verdict = await process.tag_versions.check(process.tag_versions.adopt(kept))
                    assert verdict is MISS or version == versions[tag]
    for process in processes:
        process.shared.down = False
        await process.tag_versions.aclose()
        await process.shared.aclose()


async def test_a_read_that_was_begun_beforehand_is_not_made_again(here):
    here.shared.hold["create_many"] = asyncio.Event()
    here.tag_versions.prefetch({"a", "b"})
    here.tag_versions.prefetch({"a"})
    loading = asyncio.create_task(here.tag_versions.load(["b", "a"]))
    await settle()
    assert not loading.done()
    here.shared.hold.pop("create_many").set()
    assert FRESH is here.tag_versions.peek(await loading)
    # One for "a" and "b", one for the tag of everything.
    assert 2 == here.shared.calls.count("create_many")


async def test_a_read_that_was_begun_beforehand_ends_with_its_owner(here):
    here.shared.hold["create_many"] = asyncio.Event()
    here.tag_versions.prefetch({"a"})
    await settle()
    await here.tag_versions.aclose()
    assert [] == [t for t in asyncio.all_tasks() if "tag-versions-read" in t.get_name()]


async def test_an_invalidation_during_a_read_that_was_begun_beforehand_wins(here, there):
    here.shared.hold["create_many"] = asyncio.Event()
    here.tag_versions.prefetch({"a"})
    await settle()
    await there.tag_versions.invalidate(["a"])
    await settle()
    here.shared.hold.pop("create_many").set()
    entry = await here.tag_versions.load(["a"])
    assert FRESH is await here.tag_versions.check(entry)
    await there.tag_versions.invalidate(["a"])
    await settle()
    assert MISS is await here.tag_versions.check(entry)


async def test_what_callers_of_one_turn_read_beforehand_is_read_in_one_step(here):
    for tag in ("a", "b", "c"):
        here.tag_versions.prefetch({tag})
    await settle()
    here.tag_versions.prefetch({"d"})
    await settle()
    assert 2 == here.shared.calls.count("create_many")
    entry = await here.tag_versions.load(["a", "b", "c", "d"])
    assert FRESH is here.tag_versions.peek(entry)


async def test_what_is_read_beforehand_in_one_step_is_bounded(here):
    here.shared.hold["create_many"] = asyncio.Event()
    for number in range(600):
        here.tag_versions.prefetch({f"tag:{number}"})
    await settle()
    assert 3 == here.shared.calls.count("create_many")
    here.shared.hold.pop("create_many").set()
    await settle()


@define
class AtOnce:
    """A process whose store answers without waiting, as the one that an application makes does."""

    shared: MemoryShared
    tag_versions: TagVersions

    @classmethod
    async def join(cls, fleet, **options):
        shared = MemoryShared(fleet.store, clock=fleet.clock)
        process = cls(shared, TagVersions(shared, fleet.clock, **options))
        fleet.processes.append(process)
        await process.tag_versions.start()
        return process


def begun_at_once(load):
    """Return what *load* returns, which must not wait."""
    with pytest.raises(StopIteration) as returned:
        load.send(None)
    return returned.value.value


async def test_new_tags_of_a_store_that_answers_at_once_are_read_without_waiting(fleet, here):
    one, other = await AtOnce.join(fleet), await AtOnce.join(fleet)
    entries = [begun_at_once(one.tag_versions.load([tag, "both"])) for tag in ("a", "b")]
    same = begun_at_once(other.tag_versions.load(["both", "a"]))
    assert set(same.versions) == set(entries[0].versions)
    assert set(same.versions) == set((await here.tag_versions.load(["a", "both"])).versions)
    await other.tag_versions.invalidate(["b"])
    await settle()
    assert [FRESH, MISS] == [await one.tag_versions.check(entry) for entry in entries]
    await here.tag_versions.expire(["a"])
    await settle()
    assert STALE is await one.tag_versions.check(entries[0])


async def test_a_tag_that_was_replaced_unheard_during_a_load_is_no_new_one_at_once(fleet):
    process = await AtOnce.join(fleet)
    entry = begun_at_once(process.tag_versions.load(["a"]))
    await process.tag_versions.invalidate(["late"])
    changed = await process.tag_versions.extend(entry, ["late", "new"])
    assert ("late",) == changed.unknown
    assert MISS is process.tag_versions.peek(changed)


async def test_more_tags_than_are_mirrored_are_read_from_a_store_that_answers_at_once(fleet):
    process = await AtOnce.join(fleet, max_tags=2)
    entry = await process.tag_versions.load(["a", "b", "c"])
    assert FRESH is await process.tag_versions.check(await process.tag_versions.load(["a"]))
    assert {"a", "b", "c"} == entry.tags


async def test_created_versions_of_a_store_that_answers_at_once_are_announced(fleet, here):
    process = await AtOnce.join(fleet)
    entry = await here.tag_versions.load(["a"])
    await here.shared.delete(["tag:h:a"])
    begun_at_once(process.tag_versions.load(["a"]))
    await fleet.clock.advance(1.0)
    await settle()
    assert MISS is await here.tag_versions.check(entry)


async def test_the_same_tags_are_read_once_while_nothing_moves(here):
    tags = frozenset(["op:bars", "subject:AAPL"])
    await here.tag_versions.load(tags)
    first = await here.tag_versions.load(tags)
    assert first is await here.tag_versions.load(tags)
    await here.tag_versions.load(["subject:MSFT"])  # a load from now on knows one tag more
    second = await here.tag_versions.load(tags)
    assert first is not second
    assert first.versions == second.versions
    await here.tag_versions.invalidate(["subject:AAPL"])
    third = await here.tag_versions.load(tags)
    assert (MISS, MISS, FRESH) == tuple(map(here.tag_versions.peek, (first, second, third)))


async def test_a_ban_is_seen_by_what_is_loaded_and_by_what_is_extended_later(here):
    tags = frozenset(["a"])
    entry = await here.tag_versions.load(tags)
    await here.tag_versions.load(["b"])
    here.tag_versions.ban(["b"])
    assert FRESH is here.tag_versions.peek(await here.tag_versions.load(tags))
    assert MISS is await here.tag_versions.check(await here.tag_versions.extend(entry, ["b"]))
    here.tag_versions.ban(["a"])
    assert MISS is await here.tag_versions.check(await here.tag_versions.load(tags))


async def test_tags_are_mirrored_once_they_are_read_and_until_they_are_replaced_elsewhere(
    here, there
):
    tags = frozenset(["a", "b"])
    assert not here.tag_versions.mirrors(tags)
    await here.tag_versions.load(tags)
    assert here.tag_versions.mirrors(tags)
    await there.tag_versions.invalidate(["b"])
    await settle()
    assert not here.tag_versions.mirrors(tags)
