"""The server dies, freezes, fills up, answers nonsense, fails over, under three processes.

Each process runs the whole chain; together they have 200 callers. Every answer is checked against
a version oracle: see ``node.py``.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.faults.redis.nodes import nodes

pytestmark = pytest.mark.heavy

CALLS = 400
OUTAGES = 2
MANY_OUTAGES = 20
QUICK = "?timeout=0.3&retry_interval=0.05"


async def everything_is_well(fleet) -> None:
    """Check that the store is in use again, and that no process saw or holds anything wrong."""
    await fleet.settle()
    await fleet.work(CALLS)
    await fleet.agree()
    await fleet.work(CALLS)
    await fleet.judge()


async def test_a_fleet_serves_nothing_wrong_when_nothing_is_wrong(server):
    """The oracle itself: what it would report on a healthy day."""
    async with nodes(server.url) as fleet:
        await everything_is_well(fleet)
        loads = [s["loads"] for s in await fleet.ask("status")]
        calls = [s["calls"] for s in await fleet.ask("status")]
    assert sum(loads) < sum(calls) / 2  # so the store was in use


async def killed(server, fleet, rounds: int) -> None:
    for _ in range(rounds):
        server.kill()
        await fleet.until(lambda s: s["away"])
        await fleet.work(CALLS)
        await asyncio.to_thread(server.start)
        await fleet.settle()
        await fleet.work(CALLS)


async def frozen(server, fleet, rounds: int) -> None:
    """Unlike a server that was killed, it still holds all the answers from before."""
    for _ in range(rounds):
        server.freeze()
        await fleet.until(lambda s: s["away"])
        await fleet.work(CALLS)
        server.thaw()
        await fleet.settle()
        await fleet.work(CALLS)


async def outages(server, befall, rounds: int) -> None:
    async with nodes(server.url + QUICK) as fleet:
        await fleet.work(CALLS)
        await befall(server, fleet, rounds)
        await everything_is_well(fleet)


@pytest.mark.parametrize("befall", [killed, frozen])
async def test_an_outage_under_load_fails_no_call_and_serves_nothing_old(server, befall):
    await outages(server, befall, OUTAGES)


@pytest.mark.soak
@pytest.mark.parametrize("befall", [killed, frozen])
async def test_many_outages_fail_no_call_and_serve_nothing_old(server, befall):
    await outages(server, befall, MANY_OUTAGES)


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru"])
async def test_a_server_that_is_full_serves_nothing_wrong(start_server, policy):
    """It refuses writes, or evicts answers, tag versions and leases."""
    server = start_server("--maxmemory", "4mb", "--maxmemory-policy", policy)
    async with nodes(server.url + QUICK) as fleet:
        await fleet.work(CALLS)
        fillers = [f"filler:{n}" for n in range(500)]
        for key in fillers:
            server.command("SET", key, "x" * 10_000)
        if policy == "noeviction":
            assert server.command("SET", "one more", "x" * 10_000).startswith(b"-OOM")
        else:
            assert b"evicted_keys:0\r" not in server.command("INFO", "stats")
        await fleet.work(2 * CALLS)
        await fleet.judge()
        for key in fillers:
            server.command("DEL", key)
        await everything_is_well(fleet)


async def test_damaged_replies_are_never_answers(proxy):
    rng = random.Random(7)

    def tamper(data: bytes) -> bytes:
        if rng.random() < 0.95:
            return data
        changed = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed)

    async with nodes(proxy.url + QUICK) as fleet:
        await fleet.work(CALLS)
        proxy.tamper = tamper
        await fleet.work(3 * CALLS)
        proxy.tamper = bytes
        await everything_is_well(fleet)
        assert proxy.damaged > 20


async def test_a_failover_serves_nothing_old(start_server, tmp_path):
    master = start_server()
    replica = start_server("--replicaof", "127.0.0.1", str(master.port))
    sentinels = []
    for number in range(3):
        config = tmp_path / f"sentinel{number}.conf"
        config.write_text(
            f"sentinel monitor fleet 127.0.0.1 {master.port} 2\n"
            "sentinel down-after-milliseconds fleet 300\n"
            "sentinel failover-timeout fleet 2000\n"
        )
        sentinels.append(start_server(sentinel=config))
    hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
    async with nodes(f"redis+sentinel://{hosts}/fleet/0{QUICK}") as fleet:
        await fleet.work(CALLS)
        await reports(replica, b"master_link_status:up", "replication")
        for sentinel in sentinels:
            await reports(sentinel, b"slaves=1,sentinels=3", "sentinel")
        master.kill()
        await reports(replica, b"role:master", "replication")
        await everything_is_well(fleet)


async def reports(server, words: bytes, section: str) -> None:
    """Return once *server* reports *words* about itself."""

    def asked() -> bytes:
        try:
            return server.command("INFO", section)
        except ConnectionError:  # a server that becomes a master closes its connections
            return b""

    async with asyncio.timeout(60):
        while words not in await asyncio.to_thread(asked):
            await asyncio.sleep(0)


@pytest.fixture
async def proxy(server):
    """A connection to the real server on which replies can be damaged."""

    class Proxy:
        url = ""
        damaged = 0
        tamper = staticmethod(bytes)

        def passed(self, data: bytes) -> bytes:
            changed = self.tamper(data)
            self.damaged += changed != data
            return changed

    proxy = Proxy()
    tasks = set()

    async def pipe(reader, writer, change):
        try:
            while data := await reader.read(65536):
                writer.write(change(data))
                await writer.drain()
        except (ConnectionError, RuntimeError):
            pass
        finally:
            writer.close()

    async def talk(reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", server.port)
        for pair in ((reader, back, bytes), (there, writer, proxy.passed)):
            task = asyncio.create_task(pipe(*pair))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(talk, "127.0.0.1", 0)
    proxy.url = f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0"
    yield proxy
    listener.close()
    for task in tuple(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
