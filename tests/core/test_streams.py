"""One answer in pieces, read by several."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from argo_mw import Closed, Cost, StreamAborted
from argo_mw.plugin import Stream, Tasks
from argo_mw.testing import settle


class Source:
    """Pieces that a test lets through."""

    def __init__(self, *pieces: object) -> None:
        self._pieces = pieces
        self.turn = asyncio.Semaphore(0)
        self.closed = False

    async def __call__(self) -> AsyncIterator[object]:
        try:
            for piece in self._pieces:
                await self.turn.acquire()
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.closed = True

    def let(self, number: int) -> None:
        for _ in range(number):
            self.turn.release()


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    owner = Tasks()
    yield owner
    await owner.aclose()


async def read(stream: Stream) -> list[object]:
    return [chunk async for chunk in stream.read()]


async def test_every_reader_sees_every_chunk_at_its_own_pace(tasks: Tasks) -> None:
    source = Source("a", "b", "c")
    stream = Stream(source(), tasks)
    early = asyncio.create_task(read(stream))
    source.let(2)
    await settle()
    late = asyncio.create_task(read(stream))
    source.let(1)
    assert (await early, await late, await read(stream)) == (["a", "b", "c"],) * 3
    assert stream.complete
    assert stream.chunks == ("a", "b", "c")


async def test_on_done_is_called_once_well_or_not(tasks: Tasks) -> None:
    source = Source("a")
    stream = Stream(source(), tasks)
    done: list[bool] = []
    stream.on_done(lambda s: done.append(s.complete))
    source.let(1)
    await read(stream)
    stream.on_done(lambda s: done.append(s.complete))
    assert done == [True, True]


async def test_the_last_reader_who_leaves_aborts_the_source(tasks: Tasks) -> None:
    source = Source("a", "b")
    stream = Stream(source(), tasks)
    readers = [asyncio.create_task(read(stream)) for _ in range(2)]
    source.let(1)
    await settle()
    readers[0].cancel()
    await settle()
    assert not source.closed
    readers[1].cancel()
    await settle()
    assert source.closed
    assert not stream.complete
    with pytest.raises(StreamAborted, match="its last reader left"):
        await read(stream)


@pytest.mark.parametrize("asked", [True, False])
async def test_a_source_that_was_not_read_yet_is_closed_too(tasks: Tasks, asked: bool) -> None:
    class Reply:
        closed = False

        def __aiter__(self):
            return self

        async def __anext__(self):
            raise StopAsyncIteration

        async def aclose(self) -> None:
            self.closed = True

    reply = Reply()
    stream: Stream[str] = Stream(reply, tasks)
    if asked:
        stream._buffer.start()
    stream.abort("too late")
    await settle()
    assert reply.closed


async def test_a_source_s_error_reaches_each_reader_after_the_chunks(tasks: Tasks) -> None:
    source = Source("a", ValueError("broken"))
    stream = Stream(source(), tasks)
    source.let(2)
    errors = []
    for _ in range(2):
        got: list[object] = []
        with pytest.raises(StreamAborted, match="broken") as caught:
            async for chunk in stream.read():
                got.append(chunk)
        assert got == ["a"]
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert isinstance(errors[0].__cause__, ValueError)


async def test_a_stream_is_bounded(tasks: Tasks) -> None:
    source = Source(*"abcd")
    stream = Stream(source(), tasks, max_chunks=2)
    source.let(4)
    with pytest.raises(StreamAborted, match="longer than 2 chunks"):
        await read(stream)


async def test_the_first_chunk_can_be_waited_for_without_reading_it(tasks: Tasks) -> None:
    source = Source("a", "b")
    stream = Stream(source(), tasks)
    source.let(1)
    assert await stream.first() == "a"
    source.let(1)
    assert await read(stream) == ["a", "b"]


async def test_leaving_the_wait_for_the_first_chunk_aborts_what_nobody_reads(tasks: Tasks) -> None:
    source = Source("a")
    stream = Stream(source(), tasks)
    waiting = asyncio.create_task(stream.first())
    await settle()
    waiting.cancel()
    await settle()
    assert source.closed
    with pytest.raises(StreamAborted):
        await stream.first()


async def test_an_empty_stream_has_no_first_chunk(tasks: Tasks) -> None:
    assert await Stream(Source()(), tasks).first() is None


async def test_a_kept_answer_replays(tasks: Tasks) -> None:
    stream = Stream.of(["a", "b"], tasks)
    assert (stream.complete, await read(stream), await stream.first()) == (True, ["a", "b"], "a")
    stream.abort("too late")
    assert stream.complete


async def test_shutdown_ends_a_stream() -> None:
    tasks = Tasks()
    stream = Stream(Source("a")(), tasks)
    reader = asyncio.create_task(read(stream))
    await settle()
    await tasks.aclose()
    with pytest.raises(StreamAborted, match="was stopped"):
        await reader


# -- Tasks -------------------------------------------------------------------------------------


async def test_tasks_are_named_and_ended() -> None:
    tasks = Tasks()
    forever = asyncio.Event()
    task = tasks.spawn("wait", forever.wait())
    assert (tasks.names, len(tasks)) == (["argo-mw:wait"], 1)
    await tasks.aclose()
    assert task.cancelled()
    code = forever.wait()
    with pytest.raises(Closed, match="cannot start 'late'"):
        tasks.spawn("late", code)


async def test_a_task_that_fails_is_taken_off_the_list() -> None:
    async def fail() -> None:
        msg = "broken"
        raise ValueError(msg)

    tasks = Tasks()
    tasks.spawn("fail", fail())
    await settle()
    assert tasks.names == []
    await tasks.aclose()


async def test_a_caller_who_aborts_ends_its_own_readers_only(tasks: Tasks) -> None:
    source = Source("a", "b")
    stream = Stream(source(), tasks)
    own, other = stream.share(), stream.share()
    leaving, staying = asyncio.create_task(read(own)), asyncio.create_task(read(other))
    source.let(1)
    await settle()
    own.abort("it is not wanted any more")
    with pytest.raises(StreamAborted, match="it is not wanted any more"):
        await leaving
    assert (True, False) == (own.aborted, other.aborted)
    source.let(2)
    assert ["a", "b"] == await staying
    assert (False, True) == (own.complete, other.complete)


async def test_the_last_caller_who_aborts_ends_the_source(tasks: Tasks) -> None:
    source = Source("a", "b")
    stream = Stream(source(), tasks)
    own, other = stream.share(), stream.share()
    readers = [asyncio.create_task(read(one)) for one in (own, other)]
    source.let(1)
    await settle()
    own.abort("enough")
    await settle()
    other.abort("enough")
    assert [StreamAborted] * 2 == [
        type(e) for e in await asyncio.gather(*readers, return_exceptions=True)
    ]
    await settle()
    assert source.closed
    assert stream.aborted


async def test_what_a_stream_cost_is_known_to_all_its_callers(tasks: Tasks) -> None:
    stream = Stream.of(["a"], tasks)
    other = stream.share()
    stream.cost = Cost(usd=0.5)
    assert Cost(usd=0.5) == other.cost


async def test_a_reader_that_has_yet_to_begin_keeps_the_source_from_ending(tasks: Tasks) -> None:
    source = Source("a", "b")
    stream = Stream(source(), tasks)
    release, other = stream.share().hold(), stream.share()
    source.let(1)
    early = asyncio.create_task(read(stream))
    await settle()
    early.cancel()
    await settle()
    assert not source.closed
    source.let(1)
    assert ["a", "b"] == await read(other)
    release()
    assert stream.complete


async def test_the_last_holder_who_leaves_aborts_the_source_once(tasks: Tasks) -> None:
    source = Source("a", "b")
    stream = Stream(source(), tasks)
    one, other = stream.share().hold(), stream.share().hold()
    await stream_begun(stream, source)
    one()
    one()
    assert not stream.aborted
    other()
    await settle()
    assert (stream.aborted, source.closed) == (True, True)


async def stream_begun(stream: Stream, source: Source) -> None:
    source.let(1)
    assert "a" == await stream.first()
