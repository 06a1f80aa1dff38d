"""Shared in one SQLite file: for the processes of one machine, and across restarts.

Two threads, each with its own connection, do all the work: one reads, one writes, so that a read
never waits for another process's transaction. Commands of one turn of the event loop are sent to
a thread together, and the writer commits all that it has received in one transaction. A look that
asks for a lease if it finds nothing goes to the writer, which reads first, without a lock.

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
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeAlias, TypeVar

from attrs import define, field

from argo_mw.base.clock import Clock, SystemClock
from argo_mw.base.errors import EpochChanged, SharedUnavailable
from argo_mw.base.log import Log
from argo_mw.store.give_backs import GiveBacks
from argo_mw.store.limits import check_count, check_key, check_keys, check_ttl, check_value
from argo_mw.store.protocol import Count, Lease, Witness, Write
from argo_mw.store.sqlite_store import Message, SqliteStore
from argo_mw.store.sqlite_threads import SqliteThreads
from argo_mw.store.steps import get_then_acquire

P = ParamSpec("P")
T = TypeVar("T")

_LookOrLease: TypeAlias = tuple[bytes | None, Lease | None, bytes | None]

_POLL_SECONDS: Final = 0.01
_NO_MESSAGE: Final = 2**63
_MAX_GIVE_BACK_SECONDS: Final = 86_400.0
_OF_TIMEOUT: Final = 0.8
"""How long, of a command's time limit, SQLite waits for locks: the rest is for the work."""

log = Log("argo_mw")


async def open_sqlite(
    path: Path, *, clock: Clock | None = None, max_bytes: int = 2**30, busy_timeout: float = 1.0
) -> SqliteShared:
    """Open the store in the file at *path*; make the file if there is none.

    If the file cannot be used now, the store is away until it can.

    Args:
        path: The file. It and its directory are made readable for their owner only.
        clock: Its wall time decides what has expired; it paces the attempts to use the file again.
        max_bytes: How large the file may become.
        busy_timeout: Seconds that a command may take, most of them waiting for another process's
            transaction, before the store counts as away.

    Raises:
        ConfigError: The path cannot be used, or holds something else.
    """
    wait = busy_timeout * _OF_TIMEOUT

    def open_store(*, connect: bool = True) -> SqliteStore:
        return SqliteStore(path.absolute(), max_bytes=max_bytes, busy_timeout=wait, connect=connect)

    why: str | None = None
    try:
        writer = await asyncio.to_thread(open_store)
    except SharedUnavailable as error:
        why = str(error)
        writer = open_store(connect=False)
    reader = open_store(connect=False)  # its thread connects
    shared = SqliteShared(reader, writer, clock or SystemClock(), timeout=busy_timeout)
    if why is not None:
        shared.availability.lost(why)
    return shared


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
        self, reader: SqliteStore, writer: SqliteStore, clock: Clock, *, timeout: float
    ) -> None:
        self._clock = clock
        self._give_backs = GiveBacks(clock)
        self._listeners: dict[SqliteSubscription, None] = {}
        self._channel_reader = _ChannelReader(self._deliver_soon)
        self._threads = SqliteThreads(
            reader,
            writer,
            clock,
            timeout=timeout,
            on_written=self._after_write,
            on_poll=self._channel_reader.poll,
        )
        self.availability = self._threads.availability
        self._run = self._threads.run
        self._reader, self._writer = self._threads.reader, self._threads.writer
        self._counted_in = writer

    @property
    def openings(self) -> int:
        """How often the file was opened to be written; in between, it may have been replaced."""
        return self._counted_in.openings

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

    async def create_many(
        self, items: Mapping[str, bytes], *, ttl: float | None = None
    ) -> Sequence[bytes]:
        """See :meth:`argo_mw.plugin.Shared.create_many`."""
        rows, now = [self._row(key, value, ttl) for key, value in items.items()], self._clock.time()
        return await self._run(self._writer, lambda store: store.create(rows, now))

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
        witness: Witness | None = None,
    ) -> Count:
        """See :meth:`argo_mw.plugin.Shared.add`."""
        check_key(key)
        check_count("amount", amount)
        check_count("limit", limit)
        expires, now = self._expires(ttl), self._clock.time()
        openings = self.openings

        def run(store: SqliteStore) -> Count:
            if epoch is not None and amount > 0 and store.openings != openings:
                msg = "the shared store's file was opened again, and may be another one"
                raise EpochChanged(msg)
            return store.add(key, amount, limit, expires, now, epoch, witness)

        def late(count: Count) -> None:
            if count.added:
                self._give_backs.start(
                    "store:give-back",
                    lambda: self.add(key, -amount, ttl=ttl, epoch=epoch),
                    seconds=_MAX_GIVE_BACK_SECONDS if ttl is None else ttl,
                )

        return await self._run(
            self._writer,
            run,
            None if limit is None or amount <= 0 else late,
            must=amount < 0,
        )

    async def acquire(self, key: str, *, ttl: float) -> Lease | None:
        """See :meth:`argo_mw.plugin.Shared.acquire`."""
        return (await self._acquire(key, (), ttl))[0]

    async def acquire_and_get(
        self, key: str, wanted: str, *, ttl: float
    ) -> tuple[Lease | None, bytes | None]:
        """See :meth:`argo_mw.plugin.Shared.acquire_and_get`."""
        check_key(wanted)
        lease, found = await self._acquire(key, (wanted,), ttl)
        return lease, found.get(wanted)

    async def get_or_acquire(
        self, key: str, lease: str, wanted: str, *, ttl: float
    ) -> tuple[bytes | None, Lease | None, bytes | None]:
        """See :meth:`argo_mw.plugin.Shared.get_or_acquire`."""
        check_key(lease)
        check_key(wanted)
        check_ttl(ttl)
        if not self._threads.idle(self._writer):
            # A hit must not wait for the transaction that is under way.
            return await get_then_acquire(self, key, lease, wanted, ttl=ttl)
        check_key(key)
        holder, now = os.urandom(8).hex(), self._clock.time()

        def look(store: SqliteStore) -> _LookOrLease | None:
            value = store.get_many((key,), now).get(key)
            return None if value is None else (value, None, None)

        def run(store: SqliteStore) -> _LookOrLease:
            found = store.get_many((key, wanted), now)
            if key in found:
                return found[key], None, None
            return None, store.acquire(lease, holder, now + ttl, now), found.get(wanted)

        def late(answer: _LookOrLease) -> None:
            self._give_back(answer[1], ttl)

        return await self._run(self._writer, run, late, look=look)

    async def _acquire(
        self, key: str, wanted: Sequence[str], ttl: float
    ) -> tuple[Lease | None, dict[str, bytes]]:
        check_key(key)
        check_ttl(ttl)
        holder, now = os.urandom(8).hex(), self._clock.time()

        def run(store: SqliteStore) -> tuple[Lease | None, dict[str, bytes]]:
            return store.acquire(key, holder, now + ttl, now), store.get_many(wanted, now)

        def late(answer: tuple[Lease | None, dict[str, bytes]]) -> None:
            self._give_back(answer[0], ttl)

        return await self._run(self._writer, run, late)

    def _give_back(self, lease: Lease | None, ttl: float) -> None:
        """Give up *lease*, which was granted to a caller that has left, if it was granted."""
        if lease is not None:
            self._give_backs.start(
                "store:give-back", lambda: self.release(lease), seconds=ttl, idempotent=True
            )

    async def renew(self, lease: Lease, *, ttl: float) -> bool:
        """See :meth:`argo_mw.plugin.Shared.renew`."""
        check_ttl(ttl)
        now = self._clock.time()
        return await self._run(self._writer, lambda store: store.renew(lease, now + ttl, now))

    async def release(self, lease: Lease) -> bool:
        """See :meth:`argo_mw.plugin.Shared.release`."""
        now = self._clock.time()
        return await self._run(self._writer, lambda store: store.release(lease, now), must=True)

    async def set_fenced(
        self, key: str, value: bytes, lease: Lease, *, ttl: float | None = None
    ) -> bool:
        """See :meth:`argo_mw.plugin.Shared.set_fenced`."""
        row, now = self._row(key, value, ttl, lease.fence), self._clock.time()
        return await self._run(self._writer, lambda store: store.set_fenced(row, lease.key, now))

    async def settle(
        self,
        lease: Lease,
        key: str,
        value: bytes,
        *,
        ttl: float | None,
        channel: str,
        message: bytes,
        also: Write | None = None,
    ) -> bool:
        """See :meth:`argo_mw.plugin.Shared.settle`."""
        check_key(channel)
        check_value(channel, message)
        row, now = self._row(key, value, ttl, lease.fence), self._clock.time()
        more = () if also is None else (self._row(also.key, also.value, also.ttl),)

        def run(store: SqliteStore) -> bool:
            stored, wanted = store.settle(lease, row, more, now)
            if wanted:
                store.publish(channel, message)
            return stored

        return await self._run(self._writer, run, must=True)

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
        found: list[str] = []
        while True:  # in pages, since a large file takes longer than a command may
            after = found[-1] if found else ""
            page = await self._run(self._reader, partial(_page, prefix, now, after))
            if not page:
                return found
            found += page

    async def aclose(self) -> None:
        """Run the commands that were given, then close the file. Idempotent."""
        if self._threads.closed:
            return
        with contextlib.suppress(SharedUnavailable):
            # Answered behind all earlier commands, also those whose callers were cancelled.
            await self._run(self._writer, lambda store: None)
        await self.availability.aclose()
        await self._give_backs.aclose()
        self._listeners.clear()
        await self._threads.aclose()

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
        published, self._counted_in.published = self._counted_in.published, False
        if published and self._listeners:
            self._reader.wake()

    def _deliver_soon(self, messages: list[Message] | None) -> None:
        """Run in the reading thread."""
        self._threads.soon(self._deliver, messages)

    def _deliver(self, messages: list[Message] | None) -> None:
        for listener in list(self._listeners):
            if messages is None:
                listener.after = -1  # a new file counts from 1
                _call(listener.on_gap)
                continue
            for number, channel, body in messages:
                if channel == listener.channel and number > listener.after:
                    _call(listener.on_message, body)


def _call(listener: Callable[P, None], *arguments: P.args, **named: P.kwargs) -> None:
    """Call *listener*; whatever it raises, it gets the next message too."""
    try:
        listener(*arguments, **named)
    except Exception:
        log.exception("a listener of the shared store failed")


def _page(prefix: str, now: float, after: str, store: SqliteStore) -> list[str]:
    return store.scan(prefix, now, after)


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
