"""Shared in one SQLite file: for the processes of one machine, and across restarts.

Two threads, each with its own connection, do all the work: one reads, one writes, so that a read
never waits for another process's transaction. Commands of one turn of the event loop are sent to
a thread together, and the writer commits all that it has received in one transaction.

Messages are rows with growing numbers. The reading thread asks every 10 ms whether any other
connection has written (``PRAGMA data_version``, 2 µs), so a message is received within about 10 ms
after its commit; one of the same process sooner. ``docs/decisions/shared-sqlite.md`` has the
measurements and the rivals.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from attrs import define, field

from argo_mw.base.clock import Clock, SystemClock
from argo_mw.base.errors import Closed, SharedUnavailable
from argo_mw.base.log import Log
from argo_mw.store.affinity import LoopAffinity
from argo_mw.store.give_backs import GiveBacks, claim
from argo_mw.store.limits import check_count, check_key, check_keys, check_ttl, check_value
from argo_mw.store.protocol import Count, Lease
from argo_mw.store.sqlite_store import Message, SqliteStore
from argo_mw.store.sqlite_worker import Command, Worker

T = TypeVar("T")

_POLL_SECONDS: Final = 0.01
_MAX_WAITING: Final = 100_000
_NO_MESSAGE: Final = 2**63
_MAX_GIVE_BACK_SECONDS: Final = 86_400.0

log = Log("argo_mw")


async def open_sqlite(
    path: Path, *, clock: Clock | None = None, max_bytes: int = 2**30, busy_timeout: float = 2.0
) -> SqliteShared:
    """Open the store in the file at *path*; make the file if there is none.

    Args:
        path: The file. It and its directory are made readable for their owner only.
        clock: Its wall time decides what has expired.
        max_bytes: How large the file may become.
        busy_timeout: Seconds to wait for another process's transaction before a command fails.

    Raises:
        ConfigError: The path cannot be used, or holds something else.
        SharedUnavailable: Another process has locked the file for longer than *busy_timeout*.
    """
    loop = asyncio.get_running_loop()

    def open_store() -> SqliteStore:
        return SqliteStore(path.absolute(), max_bytes=max_bytes, busy_timeout=busy_timeout)

    writer = await asyncio.to_thread(open_store)
    try:
        reader = await asyncio.to_thread(open_store)
    except BaseException:
        writer.close()
        raise
    return SqliteShared(reader, writer, loop, clock if clock is not None else SystemClock())


@define(eq=False)
class SqliteSubscription:
    """A listener, for messages with greater numbers than ``after``."""

    _listeners: dict[SqliteSubscription, None] = field(repr=False)
    channel: str
    on_message: Callable[[bytes], None]
    on_gap: Callable[[], None]
    after: int = _NO_MESSAGE

    async def aclose(self) -> None:
        """Stop listening. Idempotent."""
        self._listeners.pop(self, None)


class SqliteShared:
    """Implements :class:`~argo_mw.plugin.Shared`; made by :func:`open_sqlite`."""

    def __init__(
        self,
        reader: SqliteStore,
        writer: SqliteStore,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._affinity = LoopAffinity()
        self._closed = False
        self._give_backs = GiveBacks(clock)
        self._waiting = 0
        self._outbox: dict[Worker, list[Command]] = {}
        self._listeners: dict[SqliteSubscription, None] = {}
        self._channel_reader = _ChannelReader(self._deliver_soon)
        self._reader = Worker(
            reader,
            loop,
            "argo-mw-sqlite-read",
            writes=False,
            on_poll=self._channel_reader.poll,
        )
        self._writer = Worker(
            writer, loop, "argo-mw-sqlite-write", writes=True, on_done=self._after_write
        )

    async def get(self, key: str) -> bytes | None:
        """See :meth:`argo_mw.plugin.Shared.get`."""
        return (await self.get_many([key]))[0]

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """See :meth:`argo_mw.plugin.Shared.get_many`."""
        check_keys(keys)
        wanted, now = list(keys), self._clock.time()
        found = await self._run(self._reader, lambda store: store.get_many(wanted, now))
        return [found.get(key) for key in wanted]

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        """See :meth:`argo_mw.plugin.Shared.set`."""
        await self.set_many({key: value}, ttl=ttl)

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None = None) -> None:
        """See :meth:`argo_mw.plugin.Shared.set_many`."""
        rows = [self._row(key, value, ttl) for key, value in items.items()]
        await self._run(self._writer, lambda store: store.put(rows))

    async def delete(self, keys: Sequence[str]) -> int:
        """See :meth:`argo_mw.plugin.Shared.delete`."""
        check_keys(keys)
        wanted, now = list(keys), self._clock.time()
        return await self._run(self._writer, lambda store: store.delete(wanted, now))

    async def compare_and_set(
        self, key: str, expected: bytes | None, value: bytes, *, ttl: float | None = None
    ) -> bool:
        """See :meth:`argo_mw.plugin.Shared.compare_and_set`."""
        row, now = self._row(key, value, ttl), self._clock.time()
        return await self._run(
            self._writer, lambda store: store.compare_and_set(row, expected, now)
        )

    async def add(
        self,
        key: str,
        amount: int = 1,
        *,
        limit: int | None = None,
        ttl: float | None = None,
        epoch: int | None = None,
    ) -> Count:
        """See :meth:`argo_mw.plugin.Shared.add`."""
        check_key(key)
        check_count("amount", amount)
        check_count("limit", limit)
        expires, now = self._expires(ttl), self._clock.time()

        def late(count: Count) -> None:
            if count.added:
                self._give_backs.start(
                    "store:give-back",
                    lambda: self.add(key, -amount, ttl=ttl, epoch=epoch),
                    seconds=_MAX_GIVE_BACK_SECONDS if ttl is None else ttl,
                )

        return await self._run(
            self._writer,
            lambda store: store.add(key, amount, limit, expires, now, epoch),
            None if limit is None or amount <= 0 else late,
        )

    async def acquire(self, key: str, *, ttl: float) -> Lease | None:
        """See :meth:`argo_mw.plugin.Shared.acquire`."""
        check_key(key)
        check_ttl(ttl)
        holder, now = os.urandom(8).hex(), self._clock.time()

        def late(lease: Lease | None) -> None:
            if lease is not None:
                self._give_backs.start(
                    "store:give-back", lambda: self.release(lease), seconds=ttl, idempotent=True
                )

        return await self._run(
            self._writer, lambda store: store.acquire(key, holder, now + ttl, now), late
        )

    async def renew(self, lease: Lease, *, ttl: float) -> bool:
        """See :meth:`argo_mw.plugin.Shared.renew`."""
        check_ttl(ttl)
        now = self._clock.time()
        return await self._run(self._writer, lambda store: store.renew(lease, now + ttl, now))

    async def release(self, lease: Lease) -> bool:
        """See :meth:`argo_mw.plugin.Shared.release`."""
        now = self._clock.time()
        return await self._run(self._writer, lambda store: store.release(lease, now))

    async def set_fenced(
        self, key: str, value: bytes, lease: Lease, *, ttl: float | None = None
    ) -> bool:
        """See :meth:`argo_mw.plugin.Shared.set_fenced`."""
        row, now = self._row(key, value, ttl, lease.fence), self._clock.time()
        return await self._run(self._writer, lambda store: store.set_fenced(row, lease.key, now))

    async def publish(self, channel: str, message: bytes) -> None:
        """See :meth:`argo_mw.plugin.Shared.publish`."""
        check_key(channel)
        check_value(channel, message)
        await self._run(self._writer, lambda store: store.publish(channel, message))

    async def subscribe(
        self,
        channel: str,
        on_message: Callable[[bytes], None],
        on_gap: Callable[[], None],
        *,
        on_lost: Callable[[str], None] | None = None,
    ) -> SqliteSubscription:
        """See :meth:`argo_mw.plugin.Shared.subscribe`."""
        check_key(channel)
        subscription = SqliteSubscription(self._listeners, channel, on_message, on_gap)
        # It receives nothing until the reading thread has set the number of the last message.
        self._listeners[subscription] = None
        try:
            await self._run(self._reader, lambda store: self._start_listener(subscription, store))
        except BaseException:
            await subscription.aclose()
            raise
        return subscription

    async def scan(self, prefix: str) -> Sequence[str]:
        """See :meth:`argo_mw.plugin.Shared.scan`."""
        now = self._clock.time()
        return await self._run(self._reader, lambda store: store.scan(prefix, now))

    async def aclose(self) -> None:
        """Run the commands that were given, then close the file. Idempotent."""
        if self._closed:
            return
        self._affinity.check()
        with contextlib.suppress(SharedUnavailable):
            # Answered behind all earlier commands, also those whose callers were cancelled.
            await self._run(self._writer, lambda store: None)
        await self._give_backs.aclose()
        self._send()
        self._closed = True
        self._listeners.clear()
        await self._writer.stop()
        await self._reader.stop()

    # -- commands ------------------------------------------------------------------------

    async def _run(
        self,
        worker: Worker,
        run: Callable[[SqliteStore], T],
        late: Callable[[T], None] | None = None,
    ) -> T:
        self._affinity.check()
        if self._closed:
            msg = "the shared store was closed; open another one"
            raise Closed(msg)
        if self._waiting >= _MAX_WAITING:
            msg = f"the shared store is too slow: {self._waiting} commands wait for it already"
            raise SharedUnavailable(msg)
        if not self._outbox:
            self._loop.call_soon(self._send)
        done: asyncio.Future[T] = self._loop.create_future()
        command = Command(run, done, self._clock.time(), late)  # type: ignore[arg-type]
        self._outbox.setdefault(worker, []).append(command)
        self._waiting += 1
        try:
            return await (done if late is None else claim(done, late))
        finally:
            self._waiting -= 1

    def _send(self) -> None:
        outbox, self._outbox = self._outbox, {}
        for worker, commands in outbox.items():
            worker.send(commands)

    def _row(
        self, key: str, value: bytes, ttl: float | None, fence: int = 0
    ) -> tuple[str, bytes, float | None, int]:
        check_key(key)
        check_value(key, value)
        return key, value, self._expires(ttl), fence

    def _expires(self, ttl: float | None) -> float | None:
        check_ttl(ttl)
        return None if ttl is None else self._clock.time() + ttl

    # -- listening -----------------------------------------------------------------------

    def _start_listener(self, subscription: SqliteSubscription, store: SqliteStore) -> None:
        """Run in the reading thread."""
        subscription.after = self._channel_reader.start(store)

    def _after_write(self) -> None:
        """Run in the writing thread: let the reading one look for messages at once."""
        if self._listeners:
            self._reader.send([])

    def _deliver_soon(self, messages: list[Message] | None) -> None:
        """Run in the reading thread."""
        try:
            self._loop.call_soon_threadsafe(self._deliver, messages)
        except RuntimeError:
            log.debug("the event loop was closed before the shared store")

    def _deliver(self, messages: list[Message] | None) -> None:
        for listener in list(self._listeners):
            try:
                if messages is None:
                    listener.after = -1  # a new file counts from 1
                    listener.on_gap()
                    continue
                for number, channel, body in messages:
                    if channel == listener.channel and number > listener.after:
                        listener.on_message(body)
            except Exception:
                log.exception("a listener of the shared store failed")


class _ChannelReader:
    """Finds new messages; used in the reading thread only."""

    def __init__(self, deliver: Callable[[list[Message] | None], None]) -> None:
        self._deliver = deliver
        self._after: int | None = None
        self._version = (0, -1)

    def start(self, store: SqliteStore) -> int:
        """Return the number after which a new listener receives messages."""
        newest = store.newest_message()
        if self._after is None:
            self._after = newest
            self._version = (store.openings, -1)
        return newest

    def poll(self, store: SqliteStore) -> float | None:
        """Deliver new messages, or ``None`` when some were missed.

        Returns:
            The seconds until the next poll; ``None`` while nothing listens.
        """
        if self._after is None:
            return None
        version = store.openings, store.data_version()
        if version != self._version:
            reopened = version[0] != self._version[0]
            messages = None if reopened else store.messages_after(self._after)
            if messages is None:
                self._after = store.newest_message()
            elif messages:
                self._after = messages[-1][0]
            self._version = version
            if messages is None or messages:
                self._deliver(messages)
        return _POLL_SECONDS
