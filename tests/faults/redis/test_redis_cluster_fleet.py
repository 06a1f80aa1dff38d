"""Nodes of a cluster die, come and go, and slots move, under four processes.

Each process runs the whole chain; together they have 400 callers. Every answer is checked against a
version oracle: see ``node.py``.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from argo_mw_redis import open_cluster
from argo_mw_redis.keys import ClusterKeys, slot_of
from argo_mw_redis.testing_cluster import cluster, until
from tests.faults.redis.metered_node import VENDORS
from tests.faults.redis.metered_nodes import metered
from tests.faults.redis.nodes import nodes

pytestmark = pytest.mark.heavy

CALLS = 400
QUICK = "?timeout=0.5&retry_interval=0.05"
KEYS = ClusterKeys("argo:")
MESSAGES = slot_of(KEYS.channel(""))


@pytest.fixture
def made(tmp_path):
    # A busy machine lets a node wait for a second before it is taken for dead.
    with cluster(tmp_path / "nodes", timeout=1_000) as nodes_of_it:
        yield nodes_of_it


async def everything_is_well(fleet) -> None:
    """Check that the store is in use again, and that no process saw or holds anything wrong."""
    await fleet.settle()
    await fleet.work(CALLS)
    await fleet.agree()
    await fleet.work(CALLS)
    await fleet.judge()


async def kill(made, fleet, victim) -> None:
    """Kill a master, let calls go on until its replica has taken over, and bring it back."""
    slot = next(iter(slots_of(made, victim)))
    victim.kill()
    await asyncio.to_thread(until, lambda: made.owner(slot) is not victim, "nobody took over")
    await fleet.work(CALLS)
    await asyncio.to_thread(victim.server.start)
    await asyncio.to_thread(until, made.is_well, "the cluster is not well")
    await fleet.settle()


def slots_of(made, node) -> list[int]:
    """Return the slots of *node* that hold most of what the processes ask for."""
    names = [f"tag:{kind}:subject:{n}" for n in range(40) for kind in "hs"]
    wanted = {slot_of(KEYS.value(name)) for name in names} | {MESSAGES}
    return [slot for slot in sorted(wanted) if made.owner(slot) is node]


async def test_masters_that_die_under_load_fail_no_call_and_serve_nothing_old(made):
    async with nodes(made.url + QUICK, count=4, callers=400) as fleet:
        await fleet.work(CALLS)
        channels = made.owner(MESSAGES)
        await kill(made, fleet, next(node for node in made.masters if node is not channels))
        await kill(made, fleet, channels)
        await everything_is_well(fleet)
        loads = [s["loads"] for s in await fleet.ask("status")]
        calls = [s["calls"] for s in await fleet.ask("status")]
    assert sum(loads) < sum(calls)


async def test_writes_that_a_failover_has_lost_serve_nothing_old(made):
    """The replica has missed all invalidations of a while, which were acknowledged."""
    async with nodes(made.url + QUICK, count=4, callers=400) as fleet:
        await fleet.work(CALLS)
        victim = next(node for node in made.masters if slots_of(made, node))
        slot = slots_of(made, victim)[0]
        victim.lose_replicas()
        await fleet.work(CALLS)
        victim.kill()
        await asyncio.to_thread(until, lambda: made.owner(slot) is not victim, "nobody took over")
        await fleet.work(CALLS)
        await everything_is_well(fleet)


async def test_slots_that_move_and_nodes_that_come_and_go_cost_no_call(made):
    async with nodes(made.url + QUICK, count=4, callers=400) as fleet:
        await fleet.work(CALLS)
        first, second = made.masters[:2]
        moved = slots_of(made, first)
        await asyncio.to_thread(made.move, moved, second)
        await fleet.work(CALLS)
        fresh = await asyncio.to_thread(made.add_master)
        await asyncio.to_thread(made.move, moved, fresh)
        await fleet.work(CALLS)
        await asyncio.to_thread(made.move, moved, first)
        await asyncio.to_thread(made.remove, fresh)
        await fleet.work(CALLS)
        await everything_is_well(fleet)


USD = 0.08
LIMIT = 1_500
BUDGET = slot_of(KEYS.value("argo:{budget}"))
SECONDS = 5.0
"""Within which what a failover has lost is counted again."""


async def test_quotas_and_budgets_hold_and_are_counted_again_when_a_master_has_lost_some(made):
    """Its replica has missed additions of all processes, which were acknowledged."""
    seconds = []
    while not seconds or (min(seconds) > SECONDS and len(seconds) < 3):  # a machine may be late
        seconds.append(await lose_some(made, f"{QUICK}&prefix=of-{len(seconds)}:"))
    assert min(seconds) < SECONDS


async def lose_some(made, options: str) -> float:
    """Return after how many seconds all that a failover has lost is counted again."""
    async with metered(made.url + options, count=4, callers=400, usd=USD, limit=LIMIT) as fleet:
        await fleet.make(400)
        victim = made.owner(BUDGET)
        there = [*vendors_on(made, victim), VENDORS]
        await asyncio.to_thread(made.catch_up, victim)
        before = [fleet.sent(n) for n in there]
        victim.lose_replicas()
        await fleet.make(300)
        missed = [fleet.sent(n) - sent for n, sent in zip(there, before, strict=True)]
        assert all(missed), "the replica has missed something of each"
        victim.kill()
        await fleet.ask("more 400")
        await asyncio.to_thread(until, lambda: made.owner(BUDGET) is not victim, "nobody took over")
        seconds = await fleet.until_granted(there)
        await fleet.go_on()
        await fleet.use_up()
        await fleet.judge(there, missed)
        async with opened(made.url + options) as shared:
            for n in range(VENDORS):
                assert fleet.sent(n) <= await counted(shared, f"argo:quota:{{vendor{n}}}:day:")
            assert fleet.spent <= await counted(shared, "argo:llm:{budget}:")
    await asyncio.to_thread(victim.server.start)
    await asyncio.to_thread(until, made.is_well, "the cluster is not well")
    return seconds


async def test_quotas_and_budgets_hold_while_masters_die_slots_move_and_nodes_come_and_go(made):
    async with metered(made.url + QUICK, count=4, callers=400, usd=USD, limit=LIMIT) as fleet:
        await fleet.make(200)
        victim = made.owner(BUDGET)
        there = [*vendors_on(made, victim), VENDORS]
        await fleet.ask("more 400")
        victim.kill()
        await asyncio.to_thread(until, lambda: made.owner(BUDGET) is not victim, "nobody took over")
        await fleet.until_granted(there)
        await asyncio.to_thread(victim.server.start)
        await asyncio.to_thread(until, made.is_well, "the cluster is not well")
        await fleet.ask("more 200")
        moved = [BUDGET, *(place(n) for n in there[:-1])]
        fresh = await asyncio.to_thread(made.add_master)
        await asyncio.to_thread(made.move, moved, fresh)
        await fleet.ask("more 200")
        await asyncio.to_thread(made.move, moved, made.masters[0])
        await asyncio.to_thread(made.remove, fresh)
        await fleet.go_on()
        await fleet.use_up()
        await fleet.judge(there, [0] * len(there))


def place(vendor: int) -> int:
    """Return the slot of the quota of *vendor*."""
    return slot_of(KEYS.value(f"argo:{{vendor{vendor}}}"))


def vendors_on(made, node) -> list[int]:
    """Return the vendors whose quotas are counted on *node*."""
    return [n for n in range(VENDORS) if made.owner(place(n)) is node]


@contextlib.asynccontextmanager
async def opened(url):
    shared = await open_cluster(url)
    yield shared
    await shared.aclose()


async def counted(shared, prefix: str) -> int:
    """Return what the one counter holds whose name begins with *prefix*."""
    (key,) = await shared.scan(prefix)
    return int(await shared.get(key))
