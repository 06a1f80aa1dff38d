"""The SQLite driver between processes, within its bounds, and with a damaged file."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading

import pytest

from argo_mw.base.errors import Closed, ConfigError, SharedUnavailable
from argo_mw.base.process import this_process
from argo_mw.store.sqlite import open_sqlite
from argo_mw.store.sqlite_store import SqliteStore
from argo_mw.store.sqlite_worker import Batch, Command, Worker
from argo_mw.store.urls import open_shared
from argo_mw.testing.clock import FakeClock
from argo_mw.testing.shared import Listener, eventually


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "shared.db"


@pytest.fixture
async def shared(path):
    handle = await open_sqlite(path, busy_timeout=0.2)
    yield handle
    await handle.aclose()


SCRIPT = """
import asyncio
from pathlib import Path
from argo_mw.store.sqlite import open_sqlite

async def main(shared):
{code}

async def run():
    shared = await open_sqlite(Path({path!r}))
    print("ready", flush=True)
    await main(shared)
    await shared.aclose()

asyncio.run(run())
"""


@pytest.fixture
def spawn(path):
    """Start processes that run some code with ``shared`` open on the same file."""
    processes = []

    def start(code):
        body = textwrap.indent(textwrap.dedent(code), "    ")
        script = SCRIPT.format(code=body, path=str(path))
        process = subprocess.Popen([sys.executable, "-c", script], stdout=-1, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


async def finished(*processes):
    for process in processes:
        out, _ = await asyncio.to_thread(process.communicate, timeout=60)
        assert process.returncode == 0, out


async def test_files_are_private(shared, path):
    await shared.set("key", b"value")
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == {"shared.db": 0o600, "shared.db-wal": 0o600, "shared.db-shm": 0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_values_outlive_their_handle_and_expire_meanwhile(path):
    clock = FakeClock()
    first = await open_sqlite(path, clock=clock)
    await first.set_many({"kept": b"1"})
    await first.set("short", b"2", ttl=60)
    await first.aclose()
    await clock.advance(61)
    second = await open_sqlite(path, clock=clock)
    assert list(await second.get_many(["kept", "short"])) == [b"1", None]
    await second.aclose()


async def test_processes_add_to_one_counter(shared, spawn):
    code = """
        for _ in range(20):
            await asyncio.gather(*(shared.add("count", limit=150) for _ in range(5)))
    """
    await finished(*(spawn(code) for _ in range(2)))
    assert await shared.get("count") == b"150"


async def test_messages_cross_processes(shared, spawn):
    listener = Listener()
    await shared.subscribe("news", listener.on_message, listener.on_gap)
    process = spawn("for n in range(50): await shared.publish('news', b'%d' % n)")
    await eventually(lambda: len(listener.messages) == 50)
    assert [b"%d" % n for n in range(50)] == listener.messages
    assert listener.gaps == []
    await finished(process)


async def test_a_process_killed_while_it_writes_leaves_an_intact_file(shared, path, spawn):
    process = spawn("while True: await shared.set_many({f'k{n}': b'x' * 999 for n in range(50)})")
    assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
    while await shared.get("k49") is None:
        pass
    process.send_signal(signal.SIGKILL)
    await asyncio.to_thread(process.wait)
    await shared.set("after", b"value")
    assert list(await shared.get_many(["after", "k0"])) == [b"value", b"x" * 999]
    check = sqlite3.connect(path)
    assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    check.close()


async def test_commands_of_one_turn_are_one_transaction(shared, monkeypatch):
    transactions = []
    writing = SqliteStore.writing

    def counted(store):
        transactions.append(1)
        return writing(store)

    monkeypatch.setattr(SqliteStore, "writing", counted)
    await asyncio.gather(*(shared.set(f"key:{n}", b"") for n in range(100)))
    assert len(transactions) <= 2


async def test_a_look_the_lease_and_what_else_is_asked_are_one_transaction(shared, monkeypatch):
    transactions, reads = [], []
    writing = SqliteStore.writing

    def counted(store):
        transactions.append(1)
        return writing(store)

    monkeypatch.setattr(SqliteStore, "writing", counted)
    monkeypatch.setattr(shared._reader, "send", reads.append)
    (found, lease, wanted), created = await asyncio.gather(
        shared.get_or_acquire("key", "lease", "wanted", ttl=5), shared.create_many({"tag": b"1"})
    )
    assert (None, "lease", None, [b"1"]) == (found, lease.key, wanted, created)
    assert ([1], []) == (transactions, reads)


async def test_a_command_joins_those_that_their_thread_has_not_taken(path):
    loop, store = asyncio.get_running_loop(), SqliteStore(path)
    worker = Worker(store, "not started", writes=True)
    first, second, third = (Command(SqliteStore.touch, loop.create_future(), 0.0) for _ in "123")
    batch = Batch([first], 0.0)
    worker.send(batch)
    assert worker.add(second, batch)
    assert ([batch], True) == worker._next_batches()
    assert not worker.add(third, batch)
    assert [first, second] == batch.commands
    store.close()


async def test_a_command_does_not_join_those_that_were_given_up(path):
    loop, store = asyncio.get_running_loop(), SqliteStore(path)
    worker = Worker(store, "not started", writes=True)
    first, second = (Command(SqliteStore.touch, loop.create_future(), 0.0) for _ in "12")
    batch = Batch([first], 0.0)
    worker.send(batch)
    worker.withdraw(batch)
    assert not worker.add(second, batch)
    store.close()


async def test_reads_without_a_pause_do_not_hold_messages_up(shared, path):
    listener = Listener()
    await shared.subscribe("news", listener.on_message, listener.on_gap)
    other = SqliteStore(path)
    with other.writing():
        other.publish("news", b"1")
    other.close()
    while not listener.messages:
        await shared.get("key")
    assert [b"1"] == listener.messages


async def test_the_file_stays_within_max_bytes(path):
    shared = await open_sqlite(path, max_bytes=2 * 2**20)
    await shared.add("quota", 7)
    for start in range(0, 4_000, 50):
        await shared.set_many({f"key:{n}": os.urandom(1500) for n in range(start, start + 50)})
    assert path.stat().st_size <= 2 * 2**20
    assert await shared.get("quota") == b"7", "counters are never evicted"
    assert await shared.get("key:3999") is not None
    assert await shared.get("key:0") is None
    await shared.aclose()


async def test_expired_values_are_deleted_by_later_writes(path):
    clock = FakeClock()
    shared = await open_sqlite(path, clock=clock)
    await shared.set_many({f"old:{n}": b"" for n in range(500)}, ttl=10)
    await clock.advance(11)
    for n in range(300):
        await shared.set("one", b"%d" % n)
    await shared.aclose()
    rows = sqlite3.connect(path)
    assert rows.execute("SELECT count(*) FROM entries").fetchone()[0] == 1
    rows.close()


async def test_a_listener_that_fell_behind_receives_a_gap(shared, path, monkeypatch):
    monkeypatch.setattr("argo_mw.store.sqlite_store._MAX_MESSAGES", 10)
    listener = Listener()
    await shared.subscribe("news", listener.on_message, listener.on_gap)
    other = SqliteStore(path)
    with other.writing():
        for n in range(25):
            other.publish("news", b"%d" % n)
    other.close()
    await eventually(lambda: bool(listener.gaps))
    assert listener.messages == []
    await shared.publish("news", b"after")
    await eventually(lambda: listener.messages == [b"after"])


async def test_a_message_published_while_messages_are_read_is_no_gap(path):
    reader, writer = SqliteStore(path), SqliteStore(path)
    newest = SqliteStore.newest_message

    def publish_after(store):
        number = newest(store)
        with writer.writing():
            writer.publish("news", b"late")
        return number

    reader.newest_message = lambda: publish_after(reader)
    assert [(1, "news", b"late")] == reader.messages_after(0)
    reader.close()
    writer.close()


# -- damaged and foreign files ---------------------------------------------------------------


async def test_a_damaged_file_is_set_aside(path, capsys):
    handle = await open_sqlite(path)
    await handle.set_many({f"key:{n}": bytes(500) for n in range(100)})
    await handle.aclose()
    data = bytearray(path.read_bytes())
    data[100:4096] = os.urandom(3996)
    path.write_bytes(data)
    handle = await open_sqlite(path)
    await handle.set("key", b"value")
    assert await handle.get("key") == b"value"
    await handle.aclose()
    assert len(list(path.parent.glob("shared.db.damaged-*"))) == 1


async def test_a_file_damaged_while_open_is_replaced_and_reported_as_a_gap(path):
    shared = await open_sqlite(path)
    listener = Listener()
    await shared.subscribe("news", listener.on_message, listener.on_gap)
    await shared.set_many({f"key:{n}": bytes(2000) for n in range(200)})
    damager = sqlite3.connect(path)
    damager.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damager.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))

    async def works():
        try:
            await shared.set("after", b"value")
            return await shared.get("after") == b"value"
        except SharedUnavailable:
            return False

    async with asyncio.timeout(60):
        while not await works():
            pass
    await eventually(lambda: bool(listener.gaps))
    await shared.aclose()


async def test_a_file_that_is_no_database_is_refused_and_unchanged(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my notes, and more of them than fit into sixteen bytes")
    with pytest.raises(ConfigError, match="not a SQLite database"):
        await open_sqlite(path)
    assert path.read_text().startswith("my notes")


async def test_another_programs_database_is_refused(tmp_path):
    path = tmp_path / "theirs.db"
    theirs = sqlite3.connect(path)
    theirs.execute("CREATE TABLE precious (id)")
    theirs.close()
    with pytest.raises(ConfigError, match="another program"):
        await open_sqlite(path)


@pytest.mark.parametrize(
    "make",
    [os.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere/at/all")],
    ids=["directory", "pipe", "link to nothing"],
)
async def test_what_is_no_file_is_refused(tmp_path, make):
    path = tmp_path / "shared.db"
    make(path)
    with pytest.raises(ConfigError, match="is not a file"):
        await open_sqlite(path)


async def test_a_file_of_another_version_is_refused(path):
    await (await open_sqlite(path)).aclose()
    file = sqlite3.connect(path)
    file.execute("PRAGMA user_version = 99")
    file.close()
    with pytest.raises(ConfigError, match="another version"):
        await open_sqlite(path)


async def test_a_path_that_cannot_be_created_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        await open_sqlite(tmp_path / "file" / "shared.db")


# -- event loops and processes ---------------------------------------------------------------


async def test_a_handle_is_refused_on_another_loop(shared):
    errors = []

    def elsewhere():
        with pytest.raises(Closed, match="event loop") as caught:
            asyncio.run(shared.get("key"))
        errors.append(caught)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert len(errors) == 1


async def test_a_handle_is_refused_after_a_fork(shared, monkeypatch):
    monkeypatch.setattr(this_process, "token", object())  # as after a fork
    with pytest.raises(Closed, match="forked"):
        await shared.get("key")
    monkeypatch.undo()


async def test_closing_runs_the_commands_that_were_given(path):
    shared = await open_sqlite(path)
    writes = [asyncio.ensure_future(shared.set(f"key:{n}", b"")) for n in range(50)]
    await asyncio.sleep(0)
    await shared.aclose()
    await asyncio.gather(*writes)
    again = await open_sqlite(path)
    assert await again.get("key:49") == b""
    await again.aclose()


async def test_closing_ends_both_threads(path):
    before = {thread.name for thread in threading.enumerate()}
    shared = await open_sqlite(path)
    assert {"argo-mw-sqlite-read", "argo-mw-sqlite-write"} <= {
        thread.name for thread in threading.enumerate()
    }
    await shared.aclose()
    after = {thread.name for thread in threading.enumerate() if "sqlite" in thread.name}
    assert after <= before


# -- URLs ------------------------------------------------------------------------------------


async def test_the_scheme_of_a_url_chooses_the_driver(path):
    for url in ("memory://", f"sqlite:///{path}", f"sqlite:///{path}?max_bytes=10485760"):
        shared = await open_shared(url, clock=FakeClock())
        await shared.set("key", b"value", ttl=5)
        assert await shared.get("key") == b"value"
        await shared.aclose()
    assert path.exists()


async def test_handles_of_one_name_share_a_memory_store():
    first, second = await open_shared("memory://fleet"), await open_shared("memory://fleet")
    separate = await open_shared("memory://")
    await first.set("key", b"value")
    assert [await second.get("key"), await separate.get("key")] == [b"value", None]
    for handle in (first, second, separate):
        await handle.aclose()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("reddis://:secret@host", "install the plugin"),
        ("sqlit:///x", "did you mean 'sqlite'"),
        ("sqlite://relative.db", "four slashes"),
        ("sqlite:///", "four slashes"),
        ("sqlite:///:memory:", "write memory://"),
        ("memory://?max_entrys=5", "unknown option"),
        ("memory://?max_entries=-5", "positive whole number"),
        ("nonsense", "it is not a URL"),
    ],
)
async def test_an_error_about_a_url_shows_no_secret(url, says):
    with pytest.raises(ConfigError, match=says) as caught:
        await open_shared(url)
    assert "secret" not in str(caught.value)


async def test_a_plugins_driver_opens_its_scheme():
    opened = []

    async def driver(url, clock):
        opened.append(url)
        return await open_shared("memory://", clock=clock)

    shared = await open_shared("redis://x", drivers={"redis": driver})
    assert opened == ["redis://x"]
    await shared.aclose()


async def test_the_affinity_of_a_loop_detects_a_real_fork(shared):
    """In a process of its own, because this one has threads."""
    code = """
        import os, asyncio
        from argo_mw.store.affinity import LoopAffinity
        from argo_mw import Closed

        async def main():
            home = LoopAffinity()
            home.check()
            if os.fork() == 0:
                try:
                    home.check()
                except Closed:
                    os._exit(7)
                os._exit(1)
            assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
            home.check()

        asyncio.run(main())
    """
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", textwrap.dedent(code)], check=False
    )
    assert 0 == done.returncode


async def test_what_counts_until_later_outlives_a_clock_that_jumps_ahead_and_back(path):
    clock = FakeClock(wall=86_400.0 * 20_000)
    shared = await open_sqlite(path, clock=clock)
    await shared.add("day", 5, ttl=2 * 86_400.0)
    clock.set_wall(86_400.0 * 20_003)
    for n in range(300):
        await shared.set("one", b"%d" % n)
    clock.set_wall(86_400.0 * 20_000 + 60.0)
    assert 5 == (await shared.add("day", 0)).value
    await shared.aclose()
