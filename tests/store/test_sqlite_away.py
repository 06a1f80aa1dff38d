"""A SQLite file that is locked, hangs, goes or is replaced holds up no caller and loses no write."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from argo_mw.base.errors import SharedUnavailable
from argo_mw.store.sqlite import open_sqlite
from argo_mw.testing.shared import Listener, eventually
from argo_mw.testing.shared.away import until_written

LIMIT = 0.2


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "shared.db"


@pytest.fixture
async def shared(path):
    handle = await open_sqlite(path, busy_timeout=LIMIT)
    yield handle
    await handle.aclose()


@pytest.fixture
async def patient(path):
    """A handle that a slow disk does not take away."""
    handle = await open_sqlite(path, busy_timeout=30)
    yield handle
    await handle.aclose()


@contextlib.contextmanager
def locked(path, kind="IMMEDIATE"):
    other = sqlite3.connect(path, isolation_level=None)
    if kind == "EXCLUSIVE MODE":
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute(f"BEGIN {kind.removesuffix(' MODE')}")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@pytest.mark.parametrize("kind", ["IMMEDIATE", "EXCLUSIVE"])
async def test_a_locked_file_is_away_until_a_probe_has_written(shared, path, kind):
    await shared.set("key", b"value")
    with locked(path, kind):
        with pytest.raises(
            SharedUnavailable, match="locked.*fuser.*shared.db.*end it|another program holds it"
        ):
            await shared.set("key", b"new")
        assert await shared.get("key") == b"value", "reads need no lock"
        assert shared.availability.away
    await eventually(lambda: not shared.availability.away)
    assert await shared.get("key") == b"value"


async def test_a_file_that_is_locked_at_the_start_is_away_and_does_not_prevent_it(path):
    path.parent.mkdir()
    sqlite3.connect(path).close()
    with locked(path):
        shared = await open_sqlite(path, busy_timeout=LIMIT)
        with pytest.raises(SharedUnavailable, match="locked"):
            await shared.set("key", b"value")
    await until_written(shared, 60)
    await shared.aclose()


async def test_a_file_in_use_can_be_opened_while_it_is_locked(shared, path):
    await shared.set("key", b"value")
    with locked(path):
        other = await open_sqlite(path, busy_timeout=LIMIT)
        assert await other.get("key") == b"value"
    await other.aclose()


async def test_the_transactions_of_other_processes_are_waited_for(patient, path):
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    written = asyncio.ensure_future(patient.set("key", b"value"))
    await asyncio.to_thread(other.execute, "ROLLBACK")
    await written
    assert not patient.availability.away
    other.close()


class Hanging:
    """A command that occupies its thread."""

    def __init__(self):
        self.begun, self.end = threading.Event(), threading.Event()

    def __call__(self, store):
        self.begun.set()
        self.end.wait(60)
        return "done"


@pytest.fixture
def hanging(shared):
    command = Hanging()
    yield command
    command.end.set()


async def test_a_thread_that_hangs_takes_the_store_away(shared, hanging):
    began = time.monotonic()
    stuck = asyncio.ensure_future(shared._threads.run(shared._writer, hanging))
    await asyncio.to_thread(hanging.begun.wait)
    others = [asyncio.ensure_future(shared.set(f"key:{n}", b"")) for n in range(100)]
    await asyncio.wait([stuck, *others])
    assert time.monotonic() - began < 30, "none waited for the thread"
    assert stuck.exception().uncertain, "it may still be carried out"
    assert [False] * 100 == [one.exception().uncertain for one in others]
    hanging.end.set()
    await until_written(shared, 60)
    assert [None] * 100 == list(await shared.get_many([f"key:{n}" for n in range(100)]))


async def test_a_look_that_finds_an_answer_waits_for_no_lock(shared, path):
    await shared.set("key", b"value")
    with locked(path):
        writing = asyncio.ensure_future(shared.set("other", b"value"))
        found = await shared.get_or_acquire("key", "lease", "wanted", ttl=5)
        assert ((b"value", None, None), False) == (found, writing.done())
        with pytest.raises(SharedUnavailable):
            await writing
        assert (b"value", None, None) == await shared.get_or_acquire("key", "l", "w", ttl=5)
    await eventually(lambda: not shared.availability.away)


async def test_a_look_does_not_wait_for_what_is_under_way(shared, hanging):
    await shared.set("key", b"value")
    stuck = asyncio.ensure_future(shared._threads.run(shared._writer, hanging))
    await asyncio.to_thread(hanging.begun.wait)
    found = await shared.get_or_acquire("key", "lease", "wanted", ttl=5)
    hanging.end.set()
    assert (b"value", None, None) == found
    await asyncio.wait([stuck])


async def test_a_lease_that_a_look_is_granted_too_late_is_given_back(shared, path):
    writing = threading.Event()
    looking = asyncio.ensure_future(shared.get_or_acquire("key", "lease", "wanted", ttl=60))
    shared._writer._store.sweep = lambda now: writing.wait(60)
    while not shared._threads._unanswered[shared._writer]:
        await asyncio.sleep(0)
    looking.cancel()
    writing.set()
    await asyncio.wait([looking])
    assert looking.cancelled()
    del shared._writer._store.sweep

    async def leased():
        while (lease := await shared.acquire("lease", ttl=60)) is None:
            pass
        return lease

    assert "lease" == (await asyncio.wait_for(leased(), 60)).key


async def test_what_is_granted_too_late_is_given_back(shared, hanging):
    given_back = []
    late = asyncio.ensure_future(
        shared._threads.run(shared._writer, hanging, late=given_back.append)
    )
    await asyncio.wait([late])
    assert isinstance(late.exception(), SharedUnavailable)
    hanging.end.set()
    await eventually(lambda: given_back == ["done"])


async def test_what_is_to_be_given_back_is_though_its_caller_leaves_and_the_file_hangs(
    shared, hanging
):
    await shared.add("count", 3, limit=3)
    stuck = asyncio.ensure_future(shared._threads.run(shared._writer, hanging))
    await asyncio.to_thread(hanging.begun.wait)
    giving = asyncio.ensure_future(shared.add("count", -2))
    await asyncio.sleep(0)
    giving.cancel()
    await asyncio.wait([stuck, giving])
    hanging.end.set()
    await until_written(shared, 60)
    assert (await shared.add("count", 0)).value == 1


async def test_an_event_loop_that_stalls_is_no_slow_file(shared):
    written = asyncio.ensure_future(shared.set("key", b"value"))
    await asyncio.sleep(0)
    time.sleep(3 * LIMIT)  # noqa: ASYNC251 - the stall
    await written
    assert not shared.availability.away


async def test_a_file_that_cannot_be_written_is_away_and_says_what_to_do(shared):
    await shared.set("key", b"value")
    store = shared._writer._store
    await shared._threads.run(shared._writer, lambda _: None)
    store._db.execute("PRAGMA query_only = 1")
    with pytest.raises(SharedUnavailable, match="make .*shared.db and its directory writable"):
        await shared.set("key", b"new")
    store._db.execute("PRAGMA query_only = 0")
    await until_written(shared, 60)


# -- the files are removed or replaced -------------------------------------------------------


def companions(path):
    return [Path(f"{path}-wal"), Path(f"{path}-shm")]


def remove(path):
    for file in (path, *companions(path)):
        file.unlink()


def remove_directory(path):
    shutil.rmtree(path.parent)


def rename(path):
    path.parent.rename(path.parent.with_name("moved"))


def replace(path):
    copy = path.with_name("copy.db")
    with (
        contextlib.closing(sqlite3.connect(path)) as one,
        contextlib.closing(sqlite3.connect(copy)) as other,
    ):
        one.backup(other)
    copy.replace(path)
    for file in companions(path):
        file.unlink()


def remove_companions(path):
    for file in companions(path):
        file.unlink()


@pytest.mark.parametrize(
    "change",
    [remove, remove_directory, rename, replace, remove_companions],
    ids=lambda c: c.__name__,
)
async def test_what_is_written_after_the_files_have_changed_is_there(patient, path, change):
    """For every handle, and after the end."""
    await patient.set("before", b"value")
    other = await open_sqlite(path, busy_timeout=30)
    await other.get("before")
    await asyncio.sleep(0.05)  # longer than the interval between two looks at the files
    change(path)
    await patient.set("after", b"value")
    assert await other.get("after") == b"value"
    assert (await other.add("count")).value == 1
    assert (await patient.add("count")).value == 2
    await other.aclose()
    third = await open_sqlite(path)
    assert list(await third.get_many(["after", "count"])) == [b"value", b"2"]
    if change in (replace, remove_companions):
        assert await third.get("before") == b"value"
    await third.aclose()


async def test_listeners_hear_of_a_file_that_was_replaced(patient, path):
    listener = Listener()
    await patient.subscribe("news", listener.on_message, listener.on_gap)
    remove(path)
    await eventually(lambda: bool(listener.gaps))
    await patient.publish("news", b"after")
    await eventually(lambda: listener.messages == [b"after"])
