"""Servers that die, freeze, fill up, answer nonsense and fail over: no wrong answer, no wait."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from argo_mw import Argo, ArgoError, SharedUnavailable
from argo_mw.plugin import Codecs, SystemClock, TagVersions, context_of
from argo_mw.store import Ability, Freshness, Lease
from argo_mw.store.codec import Undecodable
from argo_mw.testing import FakeClock, settle
from argo_mw.testing.shared import Listener, eventually
from argo_mw_redis import open_redis, plugin, pubsub
from argo_mw_redis.pubsub import PubSub, seal
from argo_mw_redis.servers import SentinelServer, parse

MISS, FRESH = Freshness.MISS, Freshness.FRESH
TIMEOUT = 60.0


async def until(attempt, timeout=TIMEOUT):
    """Return the first result of *attempt* that is not an error."""
    async with asyncio.timeout(timeout):
        while True:
            with contextlib.suppress(ArgoError):
                return await attempt()
            await asyncio.sleep(0)


class Oracle:
    """Callers that read and write versions, and know which answers would be wrong."""

    def __init__(self, shared):
        self.shared = shared
        self.codecs = Codecs()
        self.versions = {f"key:{n}": 0 for n in range(20)}
        self.read = self.missed = 0
        self.wrong = []
        self.stopped = False

    async def caller(self, number):
        rng = random.Random(number)
        while not self.stopped:
            key = rng.choice(list(self.versions))
            try:
                if number < 5:
                    await self.write(key)
                else:
                    await self.check(key)
            except SharedUnavailable:
                self.missed += 1
                await asyncio.sleep(0)

    async def write(self, key):
        version = self.versions[key] = self.versions[key] + 1
        await self.shared.set(key, self.codecs.encode([key, version], key))

    async def check(self, key):
        data = await self.shared.get(key)
        value = None if data is None else self.codecs.decode(data, key)
        if value is None or isinstance(value, Undecodable):
            self.missed += 1
        elif value[0] != key or not 0 < value[1] <= self.versions[key]:
            self.wrong.append((key, value))
        self.read += 1


async def run(oracle, faults, callers=200):
    tasks = [asyncio.ensure_future(oracle.caller(number)) for number in range(callers)]
    try:
        await faults()
    finally:
        oracle.stopped = True
        await asyncio.gather(*tasks)


async def refused_at_once(shared):
    """Check that every command fails without giving up its turn, so that no caller waits."""
    lease = Lease("lease", "holder", 1)
    for command in (
        shared.get("key"),
        shared.get_many(["key"]),
        shared.set("key", b"value"),
        shared.delete(["key"]),
        shared.compare_and_set("key", None, b"value"),
        shared.add("count"),
        shared.acquire("lease", ttl=1),
        shared.renew(lease, ttl=1),
        shared.release(lease),
        shared.set_fenced("key", b"value", lease),
        shared.publish("news", b"message"),
    ):
        with pytest.raises(SharedUnavailable):
            command.send(None)


async def test_a_server_killed_under_load_costs_no_caller_an_error_or_a_wait(server):
    shared = await open_redis(server.url)
    oracle = Oracle(shared)

    async def faults():
        await eventually(lambda: oracle.read > 2_000, TIMEOUT)
        server.kill()
        await eventually(lambda: shared.unreachable is not None, TIMEOUT)
        await refused_at_once(shared)
        missed = oracle.missed
        await eventually(lambda: oracle.missed > missed + 2_000, TIMEOUT)
        await asyncio.to_thread(server.start)
        await eventually(lambda: shared.unreachable is None, TIMEOUT)
        before = oracle.read
        await eventually(lambda: oracle.read > before + 2_000, TIMEOUT)

    await run(oracle, faults)
    assert [] == oracle.wrong
    await shared.aclose()


async def test_a_frozen_server_is_noticed_once_and_then_costs_nothing(server):
    shared = await open_redis(server.url + "?timeout=0.2")
    oracle = Oracle(shared)

    async def faults():
        await eventually(lambda: oracle.read > 1_000, TIMEOUT)
        server.freeze()
        await eventually(lambda: shared.unreachable is not None, TIMEOUT)
        await refused_at_once(shared)
        missed = oracle.missed
        await eventually(lambda: oracle.missed > missed + 1_000, TIMEOUT)
        server.thaw()
        await eventually(lambda: shared.unreachable is None, TIMEOUT)
        before = oracle.read
        await eventually(lambda: oracle.read > before + 1_000, TIMEOUT)

    await run(oracle, faults, callers=100)
    assert [] == oracle.wrong
    await shared.aclose()


async def test_a_full_server_refuses_writes_and_goes_on_answering(start_server):
    server = start_server("--maxmemory", "4mb", "--maxmemory-policy", "noeviction")
    shared = await open_redis(server.url)
    await shared.set("key", b"value")

    async def fill():
        for n in range(20_000):
            await shared.set(f"filler:{n}", bytes(10_000))

    with pytest.raises(SharedUnavailable, match="used memory"):
        await fill()
    assert shared.unreachable is None
    assert b"value" == await shared.get("key")
    await shared.aclose()


async def test_scripts_that_the_server_has_forgotten_are_sent_again(server):
    shared = await open_redis(server.url)
    assert 1 == (await shared.add("count")).value
    server.command("SCRIPT", "FLUSH")
    counts = await asyncio.gather(*(shared.add("count") for _ in range(10)))
    assert list(range(2, 12)) == sorted(count.value for count in counts)
    await shared.aclose()


@pytest.mark.parametrize(
    ("commands", "refused"),
    [
        (["SCRIPT"], set()),
        (["EVAL"], set()),
        (["SCRIPT", "EVAL", "EVALSHA"], {Ability.LEASE, Ability.COUNT}),
        (["SUBSCRIBE"], {Ability.HEAR}),
        (["PUBLISH"], {Ability.ANNOUNCE}),
        (["MGET"], {Ability.READ}),
    ],
)
async def test_a_command_that_a_server_does_not_offer_is_refused_with_a_remedy(
    start_server, tmp_path, commands, refused
):
    options = [word for command in commands for word in ("--rename-command", command, "")]
    server = start_server(*options)
    settings = {"argo": {"shared": server.url, "state_dir": str(tmp_path)}}
    async with Argo.open(settings, plugins={"redis": plugin}, installed=False) as argo:
        found = await context_of(argo).tag_versions.health.check()
    assert refused == set(found)
    for why in found.values():
        assert "undo rename-command" in why
        assert "argo:" not in why, "it shows no keys and no values"


async def test_connections_that_the_server_ends_while_they_are_idle_cost_nothing(server):
    shared = await open_redis(server.url + "?connections=2")
    await shared.set("key", b"value")
    for number in range(3):
        server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await eventually(lambda: all(wire.ended for wire in shared._batcher._idle), TIMEOUT)
        found = await asyncio.gather(*(shared.get("key") for _ in range(20)))
        assert [b"value"] * 20 == found
        assert 1 == (await shared.add(f"count-{number}")).value
    await shared.aclose()


async def test_an_idle_connection_to_a_server_that_died_is_noticed_at_once(server):
    shared = await open_redis(server.url)
    server.kill()
    await eventually(lambda: shared._batcher._idle[0].ended, TIMEOUT)
    waiting = [asyncio.create_task(shared.get("key")) for _ in range(20)]
    assert {SharedUnavailable} == {
        type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)
    }
    assert shared.unreachable is not None
    server.start()
    await eventually(lambda: shared.unreachable is None, TIMEOUT)
    assert await shared.get("key") is None
    await shared.aclose()


# -- nonsense --------------------------------------------------------------------------------

NONSENSE = {
    "noise": bytes(range(256)),
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "other types": b":1\r\n:2\r\n*-1\r\n" * 20,
    "half a reply": b"$1000\r\nabc",
    "half a list": b"*1000\r\n$1\r\na\r\n",
    "errors": b"-ERR go away\r\n" * 50,
    "good night": b"",
}


@pytest.fixture
async def liar():
    """A server that sends the same reply to every command."""
    servers = []

    async def start(answer, after=None):
        async def talk(reader, writer):
            try:
                while await reader.read(65536):
                    writer.write(answer)
                    await writer.drain()
                    if not answer:
                        return
            except ConnectionError:
                pass
            finally:
                writer.close()

        listener = await asyncio.start_server(talk, "127.0.0.1", 0)
        servers.append(listener)
        return f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0"

    yield start
    for listener in servers:
        listener.close()


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
async def test_a_server_that_answers_nonsense_is_unreachable(liar, answer):
    shared = await open_redis(await liar(answer) + "?timeout=0.1&retry_interval=0.01")
    for _ in range(3):
        for attempt in (shared.get("key"), shared.add("count"), shared.acquire("lease", ttl=1)):
            with pytest.raises(SharedUnavailable):
                await attempt
    with pytest.raises(SharedUnavailable):
        await shared.subscribe("news", Listener().on_message, Listener().on_gap)
    await shared.aclose()


NO_TABLES = {
    "noise": NONSENSE["noise"],
    "a number": b"*2\r\n:1\r\n:2\r\n",
    "nothing": b"*-1\r\n",
    "half a table": b"*1\r\n*2\r\n$4\r\nname\r\n$5\r\nfleet\r\n",
}


@pytest.mark.parametrize("answer", NO_TABLES.values(), ids=NO_TABLES)
async def test_sentinels_that_answer_nonsense_are_asked_again_and_again(liar, monkeypatch, answer):
    url = (await liar(answer)).replace("redis:", "redis+sentinel:").replace("/0", "/fleet")
    shared = await open_redis(url + "?timeout=0.1&retry_interval=0.01")
    asked, connect = [], SentinelServer.connect
    monkeypatch.setattr(
        SentinelServer, "connect", lambda server: asked.append(server) or connect(server)
    )
    await eventually(lambda: len(asked) > 3, TIMEOUT)
    for attempt in (shared.get("key"), shared.subscribe("news", print, print)):
        with pytest.raises(SharedUnavailable):
            await attempt
    await shared.aclose()


@pytest.fixture
async def proxy(server):
    """A connection to the real server on which replies can be changed."""

    class Proxy:
        tamper = staticmethod(bytes)
        url = ""

        def changed(self, data):
            return self.tamper(data)

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
        for pair in ((reader, back, bytes), (there, writer, proxy.changed)):
            task = asyncio.ensure_future(pipe(*pair))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(talk, "127.0.0.1", 0)
    proxy.url = f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0"
    yield proxy
    listener.close()
    for task in tuple(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_damaged_replies_are_never_answers(proxy):
    rng = random.Random(3)

    def tamper(data):
        if rng.random() < 0.9:
            return data
        changed = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed[: rng.randrange(len(changed) + 1)] if rng.random() < 0.2 else changed)

    shared = await open_redis(proxy.url + "?timeout=0.1&retry_interval=0.005")
    oracle = Oracle(shared)
    for key in oracle.versions:
        await oracle.write(key)

    async def faults():
        await eventually(lambda: oracle.read > 500, TIMEOUT)
        proxy.tamper = tamper
        await eventually(lambda: oracle.read > 5_000, TIMEOUT)
        proxy.tamper = lambda data: data
        await until(lambda: shared.get("key:0"))

    await run(oracle, faults, callers=20)
    assert [] == oracle.wrong
    assert oracle.missed > 0
    await shared.aclose()


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        (b"hello", b"hellp"),  # another message
        (b"argo:news", b"argo:newt"),  # a channel without a subscription
        (b"message", b"massage"),  # not a message
        (b"$7\r\nmessage\r\n$9\r\nargo:news", b":1\r\n:2"),
    ],
    ids=["message", "channel", "kind", "types"],
)
async def test_a_damaged_message_is_a_gap(proxy, sent, arrives):
    shared = await open_redis(proxy.url + "?timeout=0.3&retry_interval=0.01")
    ears = Listener()
    await shared.subscribe("news", ears.on_message, ears.on_gap)
    proxy.tamper = lambda data: data.replace(sent, arrives)
    await shared.publish("news", b"hello")
    await eventually(lambda: bool(ears.gaps), TIMEOUT)
    assert [] == ears.messages
    proxy.tamper = bytes
    await shared.publish("news", b"hello")
    await eventually(lambda: bool(ears.messages), TIMEOUT)
    assert [b"hello"] == ears.messages
    await shared.aclose()


# -- the listening connection is replaced -----------------------------------------------------


async def test_subscribing_while_the_connection_is_being_replaced_fails_at_once(server):
    clock = FakeClock()
    listening = PubSub(*parse(server.url), clock)
    ears = Listener()
    await listening.subscribe("old", ears.on_message, ears.on_gap)
    server.kill()
    await eventually(lambda: clock.pending > 0, TIMEOUT)  # until its next attempt
    await asyncio.to_thread(server.start)
    for name in ("old", "new"):
        with pytest.raises(SharedUnavailable, match="being replaced"):
            await listening.subscribe(name, ears.on_message, ears.on_gap)
    await clock.advance(1.0)
    await eventually(lambda: bool(ears.gaps), TIMEOUT)
    await listening.subscribe("new", ears.on_message, ears.on_gap)
    await listening.aclose()


async def test_a_gap_is_reported_only_once_all_channels_are_confirmed_again(monkeypatch):
    """Not when a message on one channel arrives before another channel is confirmed."""
    message = b"*3\r\n$7\r\nmessage\r\n$6\r\nargo:a\r\n$7\r\n%b\r\n" % seal(b"new")
    confirmed = b"*3\r\n$9\r\nsubscribe\r\n$6\r\nargo:%b\r\n:1\r\n"
    writers, confirming, read = [], asyncio.Event(), []
    confirms = pubsub._confirms
    monkeypatch.setattr(pubsub, "_confirms", lambda *reply: read.append(reply) or confirms(*reply))

    async def talk(reader, writer):
        writers.append(writer)
        while words := await reader.read(65536):
            name = words.split()[-1][-1:]
            if len(writers) > 1 and name == b"b":
                writer.write(message)
                await confirming.wait()
            writer.write(confirmed % name)
        writer.close()

    listener = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listening = PubSub(
        *parse(f"redis://127.0.0.1:{port}/0?timeout=10&retry_interval=0.01"), SystemClock()
    )
    ears = Listener()
    for name in ("a", "b"):
        await listening.subscribe(name, ears.on_message, ears.on_gap)
    writers[0].close()
    await eventually(lambda: len(read) == 2, TIMEOUT)
    await settle()
    assert not ears.gaps
    confirming.set()
    await eventually(lambda: bool(ears.gaps), TIMEOUT)
    await listening.aclose()
    listener.close()


# -- invalidations ---------------------------------------------------------------------------


class Node:
    """A process: its store, its tag versions, what it keeps in memory."""

    def __init__(self, shared):
        self.shared = shared
        self.tag_versions = TagVersions(shared, SystemClock(), retry=0.05)
        self.kept = {}

    async def load(self, key, value):
        tag_snapshot = await self.tag_versions.load([key])
        self.kept[key] = (value, tag_snapshot)
        with contextlib.suppress(SharedUnavailable):
            await self.shared.set(key, Codecs().encode([value, tag_snapshot.versions], key))

    async def serve(self, key):
        """Return what this process would answer: from memory, else from the store; or nothing."""
        if key in self.kept:
            value, tag_snapshot = self.kept[key]
            if await self.tag_versions.check(tag_snapshot) is FRESH:
                return value
        try:
            data = await self.shared.get(key)
        except SharedUnavailable:
            return None
        stored = None if data is None else Codecs().decode(data, key)
        if stored is None or isinstance(stored, Undecodable):
            return None
        tag_snapshot = self.tag_versions.adopt(stored[1])
        return stored[0] if await self.tag_versions.check(tag_snapshot) is FRESH else None

    async def aclose(self):
        await self.tag_versions.aclose()
        await self.shared.aclose()


@pytest.fixture
async def fleet():
    nodes = []

    async def start(url):
        node = Node(await open_redis(url))
        await node.tag_versions.start()
        nodes.append(node)
        return node

    yield start
    for node in nodes:
        await node.aclose()


async def test_no_process_serves_what_was_invalidated_in_an_outage(server, fleet):
    nodes = [await fleet(server.url + "?timeout=0.3&retry_interval=0.05") for _ in range(3)]
    keys = [f"key:{n}" for n in range(10)]
    for key in keys:
        for node in nodes:
            await node.load(key, "old")
        assert ["old"] * 3 == [await node.serve(key) for node in nodes]
    server.freeze()  # unlike a dead one, it keeps what it stored
    for number, key in enumerate(keys):
        await nodes[number % 3].tag_versions.invalidate([key])
        assert await nodes[number % 3].serve(key) is None
    server.thaw()
    await eventually(lambda: all(node.shared.unreachable is None for node in nodes), TIMEOUT)
    await eventually(lambda: not any(node.tag_versions.pending for node in nodes), TIMEOUT)
    await eventually(lambda: all(node.tag_versions.connected for node in nodes), TIMEOUT)
    ears = Listener()
    await nodes[0].shared.subscribe("last", ears.on_message, ears.on_gap)
    await nodes[1].shared.publish("last", b'["last"]')
    await eventually(lambda: bool(ears.messages), TIMEOUT)
    for node in nodes:
        assert [None] * 10 == [await node.serve(key) for key in keys]


async def test_a_server_that_comes_back_empty_serves_nothing_old(server, fleet):
    nodes = [await fleet(server.url + "?retry_interval=0.05") for _ in range(3)]
    for node in nodes:
        await node.load("key", "old")
    server.kill()
    await nodes[0].tag_versions.invalidate(["key"])
    await asyncio.to_thread(server.start)
    await eventually(lambda: all(node.tag_versions.connected for node in nodes), TIMEOUT)
    await eventually(lambda: not any(node.tag_versions.pending for node in nodes), TIMEOUT)
    async with asyncio.timeout(TIMEOUT):
        while [None] * 3 != [await node.serve("key") for node in nodes]:
            await asyncio.sleep(0)
    await nodes[1].load("key", "new")
    assert "new" == await nodes[2].serve("key")


async def test_sentinels_lead_to_the_new_master(start_server, tmp_path, fleet):
    master = start_server()
    replica = start_server("--replicaof", "127.0.0.1", str(master.port))
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"sentinel monitor fleet 127.0.0.1 {master.port} 1\n"
        "sentinel down-after-milliseconds fleet 300\n"
        "sentinel failover-timeout fleet 2000\n"
    )
    sentinel = start_server(sentinel=config)
    url = f"redis+sentinel://127.0.0.1:{sentinel.port}/fleet/0?timeout=0.3&retry_interval=0.05"
    nodes = [await fleet(url) for _ in range(2)]
    await until(lambda: nodes[0].shared.set("kept", b"value"))
    for node in nodes:
        await node.load("key", "old")
    await nodes[0].tag_versions.invalidate(["key"])
    await eventually(
        lambda: b"master_link_status:up" in replica.command("INFO", "replication"), TIMEOUT
    )
    await eventually(lambda: b"slaves=1" in sentinel.command("INFO", "sentinel"), TIMEOUT)
    master.kill()
    await eventually(lambda: nodes[0].shared.unreachable is not None, TIMEOUT)
    await until(lambda: nodes[0].shared.set("after", b"value"), 30)
    assert b"role:master" in replica.command("INFO", "replication")
    await eventually(lambda: all(node.tag_versions.connected for node in nodes), TIMEOUT)
    assert b"value" == await until(lambda: nodes[1].shared.get("after"))
    assert [None, None] == [await node.serve("key") for node in nodes]
