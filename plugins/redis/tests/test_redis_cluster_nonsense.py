"""Nodes of a cluster whose answers lead nowhere: callers get an error that says so, in time."""

from __future__ import annotations

import asyncio

import hiredis
import pytest

from argo_mw import SharedUnavailable
from argo_mw.testing.shared import eventually
from argo_mw_redis import open_cluster
from argo_mw_redis.keys import LAST_SLOT
from argo_mw_redis.scripts import ALL

NAME = b"a" * 40


@pytest.fixture
async def acting():
    """Start a node that has all slots by its own word, and answers commands as it is told to."""
    listeners, connections, talking = [], [], []

    async def start(answer):
        async def talk(reader, writer):
            connections.append(writer)
            talking.append(asyncio.current_task())
            parsed = hiredis.Reader()
            while data := await reader.read(65536):
                parsed.feed(data)
                while (words := parsed.gets()) is not False:
                    writer.write(_said(words, port) or answer(words, port))
            writer.close()

        listener = await asyncio.start_server(talk, "127.0.0.1", 0)
        listeners.append(listener)
        port = listener.sockets[0].getsockname()[1]
        return f"redis+cluster://127.0.0.1:{port}"

    yield start
    for closing in (*listeners, *connections):
        closing.close()
    await asyncio.gather(*talking, return_exceptions=True)


def _said(words, port):
    """Return what every node answers to what is asked of it at the start and about the cluster."""
    if words[0] == b"SCRIPT":
        return b"$40\r\n%b\r\n" % next(one.sha for one in ALL if one.text == words[2])
    if words[:2] == [b"CLUSTER", b"INFO"]:
        return b"$23\r\ncluster_current_epoch:1\r\n"
    if words[:2] == [b"CLUSTER", b"SLOTS"]:
        master = b"*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$40\r\n%b\r\n" % (port, NAME)
        return b"*1\r\n*3\r\n:0\r\n:%d\r\n%b" % (LAST_SLOT, master)
    return b"+OK\r\n" if words[-2:] == [b"PX", b"1000"] else b""


async def test_nodes_that_redirect_in_circles_are_an_error(acting):
    asked = []

    def answer(words, port):
        asked.append(words[0])
        return b"-MOVED 5 127.0.0.1:%d\r\n" % port

    shared = await open_cluster(await acting(answer) + "?timeout=0.2&retry_interval=0.01")
    for attempt in (shared.get("key"), shared.set("key", b"value"), shared.add("count")):
        with pytest.raises(SharedUnavailable, match="do not agree which") as caught:
            await asyncio.wait_for(attempt, 30)
        assert "redis+cluster" not in str(caught.value), "it is one already"
    assert len(asked) < 3 * 100, "it is asked at a pace, not as fast as it answers"
    assert shared.unreachable is None
    await shared.aclose()


async def test_a_slot_that_redirects_in_circles_is_an_error(acting):
    shared = await open_cluster(
        await acting(lambda words, port: b"-ASK 5 127.0.0.1:%d\r\n" % port) + "?timeout=0.2"
    )
    with pytest.raises(SharedUnavailable, match="do not agree which of them has the slot"):
        await asyncio.wait_for(shared.get("key"), 30)
    await shared.aclose()


async def test_a_node_that_loads_its_data_is_away_until_it_has(acting):
    loading = [True]

    def answer(words, port):
        return b"-LOADING Redis is loading the dataset in memory\r\n" if loading[0] else b"$-1\r\n"

    shared = await open_cluster(await acting(answer) + "?timeout=5&retry_interval=0.01")
    with pytest.raises(SharedUnavailable, match="once it has loaded its data"):
        await shared.get("key")
    loading.clear()
    loading.append(False)
    await eventually(lambda: shared.unreachable is None)
    assert await shared.get("key") is None
    await shared.aclose()
