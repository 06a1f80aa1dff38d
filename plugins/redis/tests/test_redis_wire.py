"""The connection that carries batches: replies in pieces, too many, too large, or to nobody."""

from __future__ import annotations

import asyncio

import pytest

from argo_mw import SharedUnavailable
from argo_mw.testing import FakeClock, settle
from argo_mw.testing.shared import eventually
from argo_mw_redis import open_redis
from argo_mw_redis.scripts import ALL

TIMEOUT = 60.0
READY = b"".join(b"$40\r\n%b\r\n" % script.sha for script in ALL) + b"+OK\r\n"
"""What a server answers to what is sent first."""


@pytest.fixture
async def acting():
    """Start servers that answer what they are told to: first what is asked at the start."""
    listeners, connections, talking = [], [], []

    async def start(play):
        async def talk(reader, writer):
            connections.append(writer)
            talking.append(asyncio.current_task())
            try:
                await reader.readuntil(b"probe")
                await reader.readuntil(b"1000\r\n")
                writer.write(READY)
                await play(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        listener = await asyncio.start_server(talk, "127.0.0.1", 0)
        listeners.append(listener)
        return f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0"

    yield start
    for closing in (*listeners, *connections):
        closing.close()
    await asyncio.gather(*talking, return_exceptions=True)


async def test_replies_may_arrive_byte_by_byte(acting):
    async def play(reader, writer):
        await reader.readuntil(b"another\r\n")
        for byte in b"*2\r\n$5\r\nvalue\r\n$-1\r\n+OK\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()

    shared = await open_redis(await acting(play) + "?timeout=60")
    answers = await asyncio.gather(
        shared.get("key"), shared.get("none"), shared.set("key", b"another")
    )
    assert [b"value", None, None] == answers
    await shared.aclose()


async def test_what_is_left_over_after_a_batch_is_never_the_answer_to_the_next(acting):
    async def play(reader, writer):
        await reader.readuntil(b"first\r\n")
        writer.write(b"*1\r\n$5\r\nfirst\r\n*1\r\n$5\r\nwrong\r\n")
        await reader.read()

    shared = await open_redis(await acting(play) + "?timeout=60&retry_interval=60")
    assert b"first" == await shared.get("first")
    with pytest.raises(SharedUnavailable, match="something else than it was asked"):
        await shared.get("second")
    await shared.aclose()


async def test_unrequested_data_is_never_an_answer(acting):
    """The connection is replaced before anything else is sent."""
    asked, unasked = [], asyncio.Event()

    async def play(reader, writer):
        if not asked:
            asked.append(writer)
            await unasked.wait()
            writer.write(b"*1\r\n$5\r\nwrong\r\n")
            await reader.read()
        await reader.readuntil(b"key\r\n")
        writer.write(b"*1\r\n$5\r\nright\r\n")
        await reader.read()

    shared = await open_redis(await acting(play) + "?timeout=60")
    await eventually(lambda: bool(asked))
    unasked.set()
    await eventually(lambda: shared._batcher._idle[0].ended, TIMEOUT)
    assert b"right" == await shared.get("key")
    await shared.aclose()


async def test_a_server_that_sends_extra_replies_at_the_start_is_not_used(acting):
    async def play(reader, writer):
        writer.write(READY)
        await reader.read()

    shared = await open_redis(await acting(play) + "?timeout=60&retry_interval=60")
    # Either with what was asked, or as soon as it is read.
    await eventually(lambda: shared.unreachable is not None or shared._batcher._idle[0].ended)
    await shared.aclose()


async def test_a_server_that_answers_before_it_has_read_everything_does_not_deadlock(server):
    """Both directions are full meanwhile, so the client must read while it writes."""
    shared = await open_redis(server.url + "?timeout=60")
    value = bytes(1_000_000)
    await shared.set("key", value)
    writes = [shared.set(f"other:{n}", value) for n in range(40)]
    reads = [shared.get("key") for _ in range(40)]
    assert [None] * 40 + [value] * 40 == await asyncio.gather(*writes, *reads)
    await shared.aclose()


async def test_a_batch_ends_by_its_time_on_the_injected_clock_and_disturbs_no_later_one(acting):
    async def play(reader, writer):
        await reader.read()

    clock = FakeClock()
    shared = await open_redis(await acting(play) + "?timeout=5&retry_interval=1", clock)
    asking = asyncio.ensure_future(shared.get("key"))
    await eventually(lambda: shared.busy == 1)
    await clock.advance(4.9)
    assert not asking.done()
    await clock.advance(0.2)
    with pytest.raises(SharedUnavailable, match="in time") as caught:
        await asking
    assert caught.value.uncertain
    await shared.aclose()
    assert 0 == clock.pending


async def test_callers_that_leave_disturb_neither_others_nor_the_connection(acting):
    answer = asyncio.Event()

    async def play(reader, writer):
        await reader.readuntil(b"stays\r\n")
        await answer.wait()
        writer.write(b"*2\r\n$4\r\nleft\r\n$5\r\nright\r\n")
        await reader.readuntil(b"after\r\n")
        writer.write(b"*1\r\n$5\r\nafter\r\n")
        await reader.read()

    shared = await open_redis(await acting(play) + "?timeout=60")
    leaving, staying = (asyncio.ensure_future(shared.get(key)) for key in ("leaves", "stays"))
    await eventually(lambda: shared.busy == 1)
    leaving.cancel()
    await settle()
    answer.set()
    assert b"right" == await staying
    assert b"after" == await shared.get("after")
    assert leaving.cancelled()
    assert 1 == shared.openings
    await shared.aclose()


async def test_a_command_that_cannot_be_packed_fails_its_whole_batch(server):
    shared = await open_redis(server.url + "?retry_interval=0.01")
    waiting = [shared._batcher.get("key"), shared._batcher.send(("SET", object()), bool)]
    for one in waiting:
        with pytest.raises(SharedUnavailable):
            await one
    await eventually(lambda: shared.unreachable is None, TIMEOUT)
    assert await shared.get("key") is None
    await shared.aclose()


@pytest.mark.parametrize("asks", [True, False])
async def test_what_nobody_waits_for_travels_with_the_question_that_follows(
    server, monkeypatch, asks
):
    """Also with what that question begins beside it, one turn later; by itself if none follows."""
    shared = await open_redis(server.url)
    lease = await shared.acquire("lease", ttl=60)
    sent = []
    carry = shared._batcher._carry
    monkeypatch.setattr(
        shared._batcher, "_carry", lambda wire, batch: sent.append(len(batch)) or carry(wire, batch)
    )
    settling = shared.settle(lease, "key", b"value", ttl=60, channel="news", message=b"done")
    tasks = [asyncio.create_task(settling)]
    await asyncio.sleep(0)  # it has asked
    if asks:
        tasks.append(asyncio.create_task(shared.create_many({"tag": b"version"})))
        asked = shared._batcher.get("question")
        await asked
    await asyncio.gather(*tasks)
    assert [3 if asks else 1] == sent
    await shared.aclose()
