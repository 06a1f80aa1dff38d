"""Shared on Redis: the commands behind each of its operations."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

from redis.exceptions import ResponseError

from argo_mw.plugin import BadParameter, Clock, Closed, SharedUnavailable, SystemClock
from argo_mw.store import (
    WITNESS_TTL,
    Count,
    EpochChanged,
    GiveBacks,
    Lease,
    LoopAffinity,
    Witness,
    Write,
    check_count,
    check_items,
    check_key,
    check_keys,
    check_ttl,
    check_value,
    claim,
)
from argo_mw_redis.batch import Argument, Carrier
from argo_mw_redis.batcher import Batcher
from argo_mw_redis.keys import Keys
from argo_mw_redis.pubsub import PubSub, RedisSubscription, seal
from argo_mw_redis.replies import (
    expect_integer,
    expect_ok,
    expect_value,
    expect_values,
    read_count,
    read_grant,
    read_page,
    read_text,
    read_whether_set,
)
from argo_mw_redis.scripts import (
    ACQUIRE,
    ADD,
    COMPARE_AND_SET,
    RELEASE,
    RENEW,
    SET_FENCED,
    SETTLE,
    Script,
)
from argo_mw_redis.servers import parse

_MAX_TTL_MS: Final = 10**14
_MAX_KEYS: Final = 500
_LONGEST: Final = 86_400.0


async def open_redis(url: str, clock: Clock | None = None) -> RedisShared:
    """Open the store on the server at *url*, which may be unreachable now.

    ``redis://[USER:PASSWORD@]HOST:PORT/DB``, ``rediss://`` over TLS, ``unix://PATH?db=DB``,
    ``redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT/SERVICE/DB?sentinel_password=…``. The
    query may hold the fields of :class:`~argo_mw_redis.servers.Options`, and of redis-py's own
    options those of the login and of TLS.
    *clock* measures timeouts and paces the attempts to reach it again.

    Raises:
        ConfigError: The URL is wrong.
    """
    server, options = parse(url)
    clock = clock if clock is not None else SystemClock()
    batcher, pubsub = Batcher(server, options, clock), PubSub(server, options, clock)
    shared = RedisShared(batcher, pubsub, Keys(options.prefix), clock)
    await shared.start()
    return shared


class RedisShared:
    """Implements :class:`argo_mw.store.Shared`; made by :func:`open_redis`."""

    def __init__(self, batcher: Carrier, pubsub: PubSub, keys: Keys, clock: Clock) -> None:
        self._affinity = LoopAffinity()
        self._keys = keys
        self._values = keys.value("")
        self._batcher = batcher
        self._pubsub = pubsub
        self._give_backs = GiveBacks(clock)
        self._closed = False

    async def start(self) -> None:
        """Connect, or begin to try."""
        await self._batcher.start()

    @property
    def unreachable(self) -> str | None:
        """Why the server cannot be reached, or ``None`` while it can."""
        return self._batcher.unreachable

    @property
    def openings(self) -> int:
        """How often the server was reached; each time it may have restarted empty."""
        return self._batcher.openings

    @property
    def busy(self) -> int:
        """The number of connections that carry a batch now."""
        return self._batcher.busy

    @property
    def max_connections(self) -> int:
        """The largest number of connections that carry commands."""
        return self._batcher.max_connections

    @property
    def waiting(self) -> int:
        """The number of commands that wait for a connection."""
        return self._batcher.waiting

    @property
    def connections(self) -> int:
        """The number of open connections that carry commands."""
        return self._batcher.connections

    async def get(self, key: str) -> bytes | None:
        """See :meth:`argo_mw.store.Shared.get`."""
        check_key(key)
        self._check_usable()
        return await self._batcher.get(self._values + key)

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """See :meth:`argo_mw.store.Shared.get_many`."""
        check_keys(keys)
        self._check_usable()
        sent = []
        for at in range(0, len(keys), _MAX_KEYS):
            part = [self._values + key for key in keys[at : at + _MAX_KEYS]]
            sent.append(
                self._batcher.send(("MGET", *part), partial(expect_values, count=len(part)))
            )
        return [value for done in sent for value in await done]

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        """See :meth:`argo_mw.store.Shared.set`."""
        await self.set_many({key: value}, ttl=ttl)

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None = None) -> None:
        """See :meth:`argo_mw.store.Shared.set_many`."""
        check_items(items)
        life = milliseconds(ttl)
        self._check_usable()
        suffix = ("PX", life) if life else ()
        sent = [
            self._batcher.send(("SET", self._keys.value(key), value, *suffix), expect_ok)
            for key, value in items.items()
        ]
        for done in sent:
            await done

    async def create_many(
        self, items: Mapping[str, bytes], *, ttl: float | None = None
    ) -> Sequence[bytes]:
        """See :meth:`argo_mw.store.Shared.create_many`."""
        check_items(items)
        life = milliseconds(ttl)
        self._check_usable()
        suffix = ("PX", life) if life else ()
        sent = [
            self._batcher.send(
                ("SET", self._keys.value(key), value, "NX", "GET", *suffix), expect_value
            )
            for key, value in items.items()
        ]
        present = [await done for done in sent]
        return [
            value if held is None else held
            for held, value in zip(present, items.values(), strict=True)
        ]

    async def delete(self, keys: Sequence[str]) -> int:
        """See :meth:`argo_mw.store.Shared.delete`."""
        check_keys(keys)
        if not keys:
            return 0
        count: int = await self._send(
            "DEL", *(self._values + key for key in keys), read=expect_integer
        )
        return count

    async def compare_and_set(
        self, key: str, expected: bytes | None, value: bytes, *, ttl: float | None = None
    ) -> bool:
        """See :meth:`argo_mw.store.Shared.compare_and_set`."""
        check_key(key)
        check_value(key, value)
        life = milliseconds(ttl)
        if expected is None:  # needs no script, so that users without that right have tag versions
            suffix = ("PX", life) if life else ()
            words = ("SET", self._keys.value(key), value, "NX", *suffix)
            return bool(await self._send(*words, read=read_whether_set))
        arguments = (expected, value, life)
        return bool(await self._run(COMPARE_AND_SET, [self._keys.value(key)], arguments))

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
        """See :meth:`argo_mw.store.Shared.add`."""
        check_key(key)
        check_count("amount", amount)
        check_count("limit", limit)
        bound, expected = (("" if value is None else value) for value in (limit, epoch))
        arguments: list[Argument] = [amount, bound, milliseconds(ttl), expected]
        read = partial(_read_count, key, epoch)

        def late(count: Count) -> None:
            if count.added:
                self._give_backs.start(
                    "redis:give-back",
                    lambda: self.add(key, -amount, ttl=ttl, epoch=epoch),
                    seconds=_LONGEST if ttl is None else ttl,
                )

        keys = [self._keys.value(key), self._keys.epoch(key)]
        if witness is not None:
            keys.append(self._keys.value(witness.key))
            arguments += [witness.count, milliseconds(WITNESS_TTL)]
        if amount < 0:
            return cast("Count", await self._run(ADD, keys, arguments, read, must=True))
        granted = None if limit is None else late
        return cast("Count", await self._run(ADD, keys, arguments, read, late=granted))

    async def acquire(self, key: str, *, ttl: float) -> Lease | None:
        """See :meth:`argo_mw.store.Shared.acquire`."""
        return (await self._acquire(key, (), ttl))[1]

    async def acquire_and_get(
        self, key: str, wanted: str, *, ttl: float
    ) -> tuple[Lease | None, bytes | None]:
        """See :meth:`argo_mw.store.Shared.acquire_and_get`."""
        return (await self._acquire(key, (wanted,), ttl))[1:]

    async def get_or_acquire(
        self, key: str, lease: str, wanted: str, *, ttl: float
    ) -> tuple[bytes | None, Lease | None, bytes | None]:
        """See :meth:`argo_mw.store.Shared.get_or_acquire`."""
        return await self._acquire(lease, (wanted, key), ttl)

    async def _acquire(
        self, key: str, more: Sequence[str], ttl: float
    ) -> tuple[bytes | None, Lease | None, bytes | None]:
        check_keys([key, *more])
        holder = os.urandom(8).hex()
        names = self._keys
        keys = [names.lease(key), names.newest_fence(key), names.wish(key)]
        keys += map(names.value, more)

        def late(answer: tuple[int | None, bytes | None, bytes | None]) -> None:
            if answer[0] is not None:
                self._release_later(Lease(key, holder, answer[0]), ttl)

        arguments = (holder, milliseconds(ttl), self._keys.fences_last)
        try:
            fence, value, found = await self._run(ACQUIRE, keys, arguments, read_grant, late=late)
        except SharedUnavailable as error:
            if error.uncertain:  # the server may have granted it before it was lost
                self._release_later(Lease(key, holder, 0), ttl)
            raise
        return found, None if fence is None else Lease(key, holder, fence), value

    async def renew(self, lease: Lease, *, ttl: float) -> bool:
        """See :meth:`argo_mw.store.Shared.renew`."""
        arguments = (_held(lease), milliseconds(ttl))
        return bool(await self._run(RENEW, [self._keys.lease(lease.key)], arguments))

    async def release(self, lease: Lease) -> bool:
        """See :meth:`argo_mw.store.Shared.release`."""
        keys, arguments = [self._keys.lease(lease.key)], (lease.holder,)
        return bool(await self._run(RELEASE, keys, arguments, must=True))

    def _release_later(self, lease: Lease, ttl: float) -> None:
        self._give_backs.start(
            "redis:give-back", lambda: self.release(lease), seconds=ttl, idempotent=True
        )

    async def set_fenced(
        self, key: str, value: bytes, lease: Lease, *, ttl: float | None = None
    ) -> bool:
        """See :meth:`argo_mw.store.Shared.set_fenced`."""
        check_key(key)
        check_value(key, value)
        names = self._keys
        keys = [names.value(key), names.fence(key), names.lease(lease.key)]
        return bool(await self._run(SET_FENCED, keys, (value, lease.fence, milliseconds(ttl))))

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
        """See :meth:`argo_mw.store.Shared.settle`."""
        check_key(channel)
        check_value(channel, message)
        sent = (self._keys.channel(channel), seal(message))
        words = self._settlement(lease, Write(key, value, ttl), sent, also)
        return bool(await self._run(SETTLE, *words, must=True))

    def _settlement(
        self, lease: Lease, result: Write, sent: tuple[str, Argument], also: Write | None
    ) -> tuple[list[str], list[Argument]]:
        """Return the names that settling *lease* with its *result* reads or writes, and the rest.

        What is *sent* is a channel, "" for none, and a message.
        """
        check_key(result.key)
        check_value(result.key, result.value)
        names = self._keys
        leased = (names.lease(lease.key), names.wish(lease.key))
        keys = [names.value(result.key), names.fence(result.key), *leased]
        life = milliseconds(result.ttl)
        arguments: list[Argument] = [result.value, lease.fence, life, lease.holder, *sent]
        if also is not None:
            check_key(also.key)
            check_value(also.key, also.value)
            keys.append(names.value(also.key))
            arguments += [also.value, milliseconds(also.ttl)]
        return keys, arguments

    async def publish(self, channel: str, message: bytes) -> None:
        """See :meth:`argo_mw.store.Shared.publish`."""
        check_key(channel)
        check_value(channel, message)
        words = ("PUBLISH", self._keys.channel(channel), seal(message))
        await self._send(*words, read=expect_integer)

    async def subscribe(
        self,
        channel: str,
        on_message: Callable[[bytes], None],
        on_gap: Callable[[], None],
        *,
        on_lost: Callable[[str], None] | None = None,
    ) -> RedisSubscription:
        """See :meth:`argo_mw.store.Shared.subscribe`."""
        check_key(channel)
        self._check_usable()
        self._batcher.check_reachable()
        return await self._pubsub.subscribe(channel, on_message, on_gap, on_lost)

    async def scan(self, prefix: str) -> Sequence[str]:
        """See :meth:`argo_mw.store.Shared.scan`."""
        pattern = literal(self._values + prefix) + "*"
        found: dict[str, None] = {}
        cursor = b"0"
        while True:
            cursor, keys = await self._send(
                "SCAN", cursor, "MATCH", pattern, "COUNT", "1000", read=read_page
            )
            found.update((key.decode()[len(self._values) :], None) for key in keys)
            if cursor == b"0":
                return list(found)

    async def infos(self) -> Mapping[str, dict[str, str]]:
        """Return the server's ``INFO``, under an empty name."""
        return {"": report(await self._send("INFO", read=read_text))}

    async def aclose(self) -> None:
        """Finish the commands under way, then close the connections. Idempotent."""
        if self._closed:
            return
        self._check_usable()
        await self._batcher.drain()
        await self._give_backs.aclose()
        self._closed = True
        await self._pubsub.aclose()
        await self._batcher.aclose()

    async def _send(self, *words: Argument, read: Callable[[Any], Any]) -> Any:
        self._check_usable()
        return await self._batcher.send(words, read)

    async def _run(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        read: Callable[[Any], Any] = expect_integer,
        *,
        must: bool = False,
        late: Callable[[Any], None] | None = None,
    ) -> Any:
        self._check_usable()
        words = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
        done = self._batcher.send(words, read, script=script, must=must, late=late)
        return await (done if late is None else claim(done, late))

    def _check_usable(self) -> None:
        if self._closed:
            msg = "the shared store was closed; open another one"
            raise Closed(msg)
        self._affinity.check()


def _read_count(key: str, epoch: int | None, reply: Any) -> Count:
    if isinstance(reply, ResponseError) and "NOCOUNTER" in str(reply):
        msg = f"{key!r} holds a value, not a counter: add() cannot be used on it"
        raise BadParameter(msg)
    if isinstance(reply, ResponseError) and "EPOCH" in str(reply):
        msg = f"Redis has lost what it counted in epoch {epoch}"
        raise EpochChanged(msg)
    return read_count(reply)


def milliseconds(ttl: float | None) -> int | str:
    """Return a time to live in milliseconds, as Redis expects it; "" for none."""
    check_ttl(ttl)
    return "" if ttl is None else min(max(1, int(min(ttl, 1e11) * 1000)), _MAX_TTL_MS)


def report(text: str) -> dict[str, str]:
    """Return the fields of an ``INFO`` reply, by name."""
    pairs = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, colon, value in pairs if colon}


def _held(lease: Lease) -> str:
    return f"{lease.fence}:{lease.holder}"


def literal(text: str) -> str:
    """Return *text* escaped, as a pattern that matches only itself."""
    return "".join("\\" + letter if letter in "*?[]^\\" else letter for letter in text)
