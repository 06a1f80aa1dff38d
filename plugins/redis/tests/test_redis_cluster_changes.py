"""Nodes of a cluster die, come and go, and slots move, while the store is in use."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from argo_mw import SharedUnavailable
from argo_mw.store import Epochs, Freshness, SystemClock, TagVersions
from argo_mw.testing.shared import Listener, eventually
from argo_mw_redis import open_cluster
from argo_mw_redis.keys import ClusterKeys, slot_of
from argo_mw_redis.testing_cluster import cluster

DAY = 86_400.0
KEYS = ClusterKeys("argo:")


@pytest.fixture
def timeout():
    """Milliseconds after which a silent node counts as dead."""
    return 1_000


@pytest.fixture
def nodes(tmp_path, timeout):
    with cluster(tmp_path / "nodes", timeout=timeout) as made:
        yield made


@pytest.fixture
async def shared(nodes):
    store = await open_cluster(nodes.url)
    yield store
    await store.aclose()


# So that no node is taken for dead because the machine is busy.
where_nobody_dies = pytest.mark.parametrize("timeout", [30_000])


def slot(key):
    return slot_of(KEYS.value(key))


def key_on(nodes, owner, name="key"):
    """Return a key that lives on *owner*."""
    return next(
        key for key in (f"{name}{{{n}}}" for n in range(10_000)) if nodes.owner(slot(key)) is owner
    )


def two_masters(nodes):
    """Return a master on which no channel lives, and another one."""
    channels = nodes.owner(slot_of(KEYS.channel("")))
    victim = next(node for node in nodes.masters if node is not channels)
    return victim, channels


async def in_thread(call, *arguments):
    return await asyncio.get_running_loop().run_in_executor(None, call, *arguments)


async def until_read(shared, key):
    """Return once *key* can be read; it cannot while its slot has no master."""
    while True:
        with suppress(SharedUnavailable):
            return await shared.get(key)
        await asyncio.sleep(0.01)


async def test_one_node_s_death_leaves_the_others_in_use(nodes, shared):
    victim, survivor = two_masters(nodes)
    lost, kept = key_on(nodes, victim), key_on(nodes, survivor)
    await shared.set_many({lost: b"1", kept: b"2"})
    victim.kill()
    with pytest.raises(SharedUnavailable):
        await shared.get(lost)
    assert b"2" == await shared.get(kept)
    with pytest.raises(SharedUnavailable, match="its node"):
        shared.check_whole()
    assert b"1" == await until_read(shared, lost)
    await eventually(lambda: shared.unreachable is None)


async def test_all_count_as_changed_before_a_new_master_is_read(nodes, shared):
    """Also by a process that was idle all the time."""
    victim, _ = two_masters(nodes)
    key, listener = key_on(nodes, victim), Listener()
    idle, heard = await open_cluster(nodes.url), Listener()
    for store, one in ((shared, listener), (idle, heard)):
        await store.subscribe("news", one.on_message, one.on_gap)
    await shared.set(key, b"1")
    openings, gaps = shared.openings, len(listener.gaps)
    victim.kill()
    assert b"1" == await until_read(shared, key)
    assert len(listener.gaps) > gaps
    assert shared.openings > openings
    await eventually(lambda: bool(heard.gaps))
    await idle.aclose()


async def test_a_channel_s_node_that_dies_is_a_gap_and_messages_arrive_again(nodes, shared):
    _, channels = two_masters(nodes)
    listener = Listener()
    await shared.subscribe("news", listener.on_message, listener.on_gap)
    channels.kill()
    await eventually(lambda: bool(listener.gaps))
    while not listener.messages:
        with suppress(SharedUnavailable):
            await shared.publish("news", b"again")
        await asyncio.sleep(0.01)


async def test_a_master_that_restarts_empty_is_noticed_before_it_is_read(nodes, shared):
    victim, _ = two_masters(nodes)
    key, listener = key_on(nodes, victim), Listener()
    await shared.subscribe("news", listener.on_message, listener.on_gap)
    await shared.set(key, b"1")
    for replica in nodes.replicas_of(victim):
        replica.kill()
    victim.kill()
    victim.server.start()
    assert await until_read(shared, key) is None
    assert listener.gaps


@where_nobody_dies
async def test_moved_slots_cost_nothing(nodes, shared):
    """Counters with their witness, leases with their result, values: every command is carried out."""
    source, target = nodes.masters[:2]
    tags = [key_on(nodes, source, name) for name in ("a", "b", "c")]
    listener = Listener()
    await shared.subscribe("news", listener.on_message, listener.on_gap)
    epochs = Epochs(shared, SystemClock(), url=nodes.url)
    done = False
    counted = dict.fromkeys(tags, 0)

    async def work(tag):
        while not done:
            count = await epochs.add(f"count:{tag}", began=0.0)
            counted[tag] += 1
            assert counted[tag] == count.value
            lease = await shared.acquire(f"lease:{tag}", ttl=60)
            assert await shared.set_fenced(f"result:{tag}", b"%d" % counted[tag], lease)
            assert await shared.release(lease)
            assert b"%d" % counted[tag] == await shared.get(f"result:{tag}")

    working = [asyncio.ensure_future(work(tag)) for tag in tags]
    slots = sorted({slot(tag) for tag in tags})
    for owner in (target, source) * 10:
        await in_thread(nodes.move, slots, owner)
    done = True
    await asyncio.gather(*working)
    assert all(count > 10 for count in counted.values()), counted
    assert [] == listener.gaps
    assert not (await epochs.refresh()).lost
    await epochs.aclose()


@where_nobody_dies
async def test_a_node_is_added_given_slots_and_removed_again(nodes, shared):
    tags = [f"key{{{n}}}" for n in range(50)]
    await shared.set_many(dict.fromkeys(tags, b"1"))
    fresh = await in_thread(nodes.add_master)
    origin = {slot(tag): nodes.owner(slot(tag)) for tag in tags}
    await in_thread(nodes.move, [*origin], fresh)
    assert [b"1"] * 50 == await shared.get_many(tags)
    for number, owner in origin.items():
        await in_thread(nodes.move, [number], owner)
    assert [b"1"] * 50 == await shared.get_many(tags)
    await in_thread(nodes.remove, fresh)
    assert [b"1"] * 50 == await shared.get_many(tags)
    await eventually(lambda: shared.unreachable is None)


async def sent(epochs, key, wanted):
    """Return how many of so many additions today are within a limit of five."""
    counts = [await epochs.add(key, began=1.0, limit=5, ttl=DAY) for _ in range(wanted)]
    return sum(count is not None and count.added for count in counts)


async def test_what_a_failover_has_lost_is_counted_again(nodes, shared, tmp_path):
    victim, survivor = two_masters(nodes)
    lost, kept = key_on(nodes, victim, "day"), key_on(nodes, survivor, "day")
    epochs = Epochs(shared, SystemClock(), url=nodes.url, state_dir=tmp_path)
    assert (2, 2) == (await sent(epochs, lost, 2), await sent(epochs, kept, 2))
    await in_thread(nodes.catch_up, victim)
    victim.lose_replicas()
    assert 2 == await sent(epochs, lost, 2)  # acknowledged, and never replicated
    victim.kill()
    await until_read(shared, lost)
    assert 1 == await sent(epochs, lost, 9)
    assert 3 == await sent(epochs, kept, 9)
    assert not (await epochs.refresh()).lost
    await epochs.aclose()


async def test_a_count_whose_process_is_gone_refuses_on_its_node_only(nodes, shared, tmp_path):
    victim, survivor = two_masters(nodes)
    lost, kept = key_on(nodes, victim, "day"), key_on(nodes, survivor, "day")
    epochs, gone = (
        Epochs(shared, SystemClock(), url=nodes.url, state_dir=tmp_path / name)
        for name in ("here", "there")
    )
    assert (1, 1) == (await sent(epochs, lost, 1), await sent(gone, lost, 1))
    assert 2 == await sent(epochs, kept, 2)
    await in_thread(nodes.catch_up, victim)
    victim.lose_replicas()
    assert (1, 1) == (await sent(epochs, lost, 1), await sent(gone, lost, 1))
    gone._watching.cancel()  # as kill -9 does
    victim.kill()
    await until_read(shared, lost)
    assert 0 == await sent(epochs, lost, 9)
    assert 3 == await sent(epochs, kept, 9)
    assert (await epochs.refresh()).lost
    assert await epochs.accept()
    assert 2 == await sent(epochs, lost, 9)
    await epochs.aclose()


async def test_a_failover_that_has_lost_nothing_refuses_nothing(nodes, shared, tmp_path):
    victim, _ = two_masters(nodes)
    key = key_on(nodes, victim, "day")
    epochs = Epochs(shared, SystemClock(), url=nodes.url, state_dir=tmp_path)
    for _ in range(3):
        assert (await epochs.add(key, began=1.0, limit=5)).added
    await in_thread(nodes.catch_up, victim)
    victim.kill()
    await until_read(shared, key)
    assert 4 == (await epochs.add(key, began=1.0, limit=5)).value
    await epochs.aclose()


async def test_an_invalidation_that_a_failover_has_lost_is_made_again(nodes, shared):
    """Nobody is served what was invalidated: the replica has the old version."""
    victim, _ = two_masters(nodes)
    tag = next(f"{{{n}}}" for n in range(10_000) if nodes.owner(slot(f"tag:h:{{{n}}}")) is victim)
    other = await open_cluster(nodes.url)
    mine, theirs = (TagVersions(store, SystemClock()) for store in (shared, other))
    await mine.start()
    await theirs.start()
    old = await mine.load([tag])
    assert Freshness.FRESH == await theirs.check(theirs.adopt(old.versions))
    await in_thread(nodes.catch_up, victim)
    victim.lose_replicas()
    assert await mine.invalidate([tag])
    await eventually(lambda: theirs.peek(theirs.adopt(old.versions)) is not Freshness.FRESH)
    victim.kill()
    while not (mine.usable and theirs.usable and other.unreachable is None):
        verdict = await theirs.check(theirs.adopt(old.versions))
        assert Freshness.MISS == verdict
        await asyncio.sleep(0.005)
    for _ in range(100):
        assert Freshness.MISS == await theirs.check(theirs.adopt(old.versions))
        await asyncio.sleep(0.002)
    for one in (mine, theirs):
        await one.aclose()
    await other.aclose()
