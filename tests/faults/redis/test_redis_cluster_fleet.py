"""Nodes of a cluster die, come and go, and slots move, under four processes.

Each process runs the whole chain; together they have 400 callers. Every answer is checked against a
version oracle: see ``node.py``.
"""

from __future__ import annotations

import asyncio

import pytest

from argo_mw_redis.keys import ClusterKeys, slot_of
from argo_mw_redis.testing_cluster import cluster, until
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
